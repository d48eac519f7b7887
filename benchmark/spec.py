"""What a data set looks like and what a model may be able to do: the whole contract, in one file.

A capability is the presence of a method. Nothing here is a base class: a model that has the
methods satisfies the protocol.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.distributions import Distribution


@dataclass(frozen=True)
class DataSpec:
    """The space that examples live in.

    Args:
        shape: of one example: `(C, H, W)` for images, `(d,)` for points.
        levels: images are integers 0..levels-1; points are floats and have `levels=None`.
    """

    shape: tuple[int, ...]
    levels: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(side) for side in self.shape))
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"shape must hold positive sizes, got {self.shape}")
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels must be at least 2, got {self.levels}")
        if self.levels is not None and len(self.shape) != 3:
            raise ValueError(f"images need a shape (C, H, W), got {self.shape}")

    @property
    def dims(self) -> int:
        """Number of coordinates of one example (sub-pixels of an image)."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        return self.levels is not None

    @property
    def is_planar(self) -> bool:
        """Whether examples are points in the plane, of which figures can be drawn."""
        return not self.is_image and self.shape == (2,)


class Log(Protocol):
    """What `fit` is handed to report with, and the place where it may keep a checkpoint.

    `log(step, total, loss=...)` stores one row of the training curve and moves the progress bar.
    """

    folder: Path | None  # survives a kill; None when nothing is to be kept
    precision: str  # as Lightning Fabric writes it, "32-true" or "bf16-mixed" for example

    def __call__(self, step: int, total: int, **losses: float) -> None: ...

    def snapshot(self, step: int, total: int, sample: Callable[[int], Tensor]) -> None:
        """Offers a look at the model in training; `sample(n)` draws [n, *shape] as it is now.

        The log decides whether it looks, and leaves the random state as it finds it.
        """
        ...

    def diverged(self, step: int, total: int, loss: str, value: float) -> None:
        """Says that training ended where `loss` became `value`, NaN or infinite, at `step`.

        Told where several models train together; one alone raises `TrainingDiverged`.
        """
        ...


class TrainingDiverged(RuntimeError):
    """A loss stopped being a finite number: `loss` at `step` of `steps`."""

    def __init__(self, loss: str, value: float, step: int, steps: int) -> None:
        super().__init__(f"loss {loss!r} became {value} at step {step} of {steps}")
        self.loss, self.value, self.step, self.steps = loss, value, step, steps


@runtime_checkable
class Sampler(Protocol):
    """Draws examples. Every model does."""

    spec: DataSpec

    def sample(self, n: int) -> Tensor:
        """Draws [n, *spec.shape]: integers below `levels` for images, floats for points."""
        ...


@runtime_checkable
class Density(Protocol):
    """Knows log p(x) exactly: a log-mass of discrete images, a log-density of points."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Gives [n] nats for x [n, *shape]."""
        ...


@runtime_checkable
class BoundedDensity(Protocol):
    """Knows a lower bound on log p(x), in expectation over its own randomness."""

    def log_prob_bound(self, x: Tensor) -> Tensor:
        """Gives [n] nats for x [n, *shape]."""
        ...


@runtime_checkable
class LatentModel(Protocol):
    """x is drawn from p(x given z), z from p(z)."""

    def prior(self) -> Distribution:
        """p(z), with event shape [latents]."""
        ...

    def decode(self, z: Tensor) -> Distribution:
        """p(x given z) for z [..., latents], with event shape `spec.shape`."""
        ...


@runtime_checkable
class Generator(Protocol):
    """x is a function of z, without noise; a likelihood needs an observation model around it."""

    def prior(self) -> Distribution:
        """p(z), with event shape [latents]."""
        ...

    def generate(self, z: Tensor) -> Tensor:
        """Maps z [..., latents] to data [..., *shape], floats also for images."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Has an approximate posterior."""

    def encode(self, x: Tensor) -> Distribution:
        """q(z given x) for x [n, *shape], with batch shape [n] and event shape [latents]."""
        ...


@runtime_checkable
class Completer(Protocol):
    """Draws images from a row downwards, given what stands above: for models of images."""

    def complete(self, x: Tensor, rows: int) -> Tensor:
        """Draws the rest of images given their upper part.

        Args:
            x: [n, *spec.shape] integers, of which everything below the first `rows` is ignored.
            rows: how many are kept, from 0 (a sample) to the height (the image itself).

        Returns:
            [n, *spec.shape] integers below `levels`, their first `rows` rows those of `x`.
        """
        ...


@runtime_checkable
class ProgressTeller(Protocol):
    """Draws so slowly that a user wants to see how far it has come."""

    def tell_progress(self, tell: Callable[[int, int], None]) -> None:
        """Calls `tell(drawn, total)`, counts of examples, while it draws from now on."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """Learns from data."""

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        """Trains on `train` [n, *shape].

        Args:
            train: images as uint8, points as float32, already on the device to train on.
            validation: the same for the validation split: for choosing, never for fitting.
            budget: fraction of the model's full training length, 1.0 for all of it.
            log: takes the losses; its `folder` may hold a checkpoint to resume from.
        """
        ...


class Classes(Protocol):
    """The labels 0 .. count - 1 that a model knows; none where count is 0."""

    count: int


@runtime_checkable
class LabelLearner(Protocol):
    """Learns p(x given y) from labels, if it is built with any `classes`; else as `Trainable`."""

    classes: Classes

    def fit(
        self,
        train: Tensor,
        validation: Tensor,
        budget: float,
        log: Log,
        labels: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Trains as `Trainable` does.

        Args:
            train: [n, *shape], on the device to train on.
            validation: [m, *shape], for choosing.
            budget: fraction of the full training length.
            log: takes the losses.
            labels: classes [n] and [m] of both splits; None for a model without.
        """
        ...


@runtime_checkable
class TrainableTogether(Protocol):
    """Several of it learn at once, as one batched model: for GPUs, which small ones leave idle."""

    def fit_together(
        self,
        models: Sequence[Any],
        train: Tensor,
        validation: Tensor,
        budget: float,
        logs: Sequence[Log],
    ) -> None:
        """Trains `models` of equal architecture, of which this is the first, as `fit` trains one.

        Where there are several and one diverges, its log is told and the others go on.
        """
        ...


CAPABILITIES: dict[str, type] = {
    "sample": Sampler,
    "log_prob": Density,
    "log_prob_bound": BoundedDensity,
    "prior, decode": LatentModel,
    "prior, generate": Generator,
    "encode": Encoder,
    "complete": Completer,
    "tell_progress": ProgressTeller,
    "fit": Trainable,
    "classes, fit": LabelLearner,
    "fit_together": TrainableTogether,
}
