"""What a metric is, and what it may look at."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.resampling import REPEATS, HalfSamples, half_samples, interval_reach
from benchmark.spec import DataSpec
from benchmark.store import Meaning

Table = Literal[
    "likelihood", "bounds", "samples", "distances", "tests", "memorisation", "modes", "cost"
]
Better = Literal["lower", "higher"]
Reference = Literal["test", "train"]
OF_SAMPLES: tuple[Table, ...] = ("samples", "distances", "tests", "memorisation")


class NotApplicable(Exception):
    """The question has no answer for this model or data set; the message says why."""


@dataclass(frozen=True)
class Measurement:
    """A value with its error; `low` and `high` bound a 95 % interval."""

    value: float
    n: int | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    meaning: Meaning = "estimate"
    per_example: np.ndarray | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def with_error(
        cls,
        value: float,
        standard_error: float,
        n: int,
        meaning: Meaning = "estimate",
        lowest: float = -math.inf,
        highest: float = math.inf,
        freedom: float = math.inf,
    ) -> "Measurement":
        """A value with the interval of its standard error, cut to the metric's range.

        Args:
            value: measured.
            standard_error: in its unit.
            n: examples that it rests on.
            meaning: what the value says of the true one.
            lowest: the least that the metric can be, and
            highest: the most.
            freedom: degrees of freedom that the error is known with: the interval is Student's,
                and normal where they are infinite.
        """
        reach = standard_error * interval_reach(freedom)
        low, high = max(value - reach, lowest), min(value + reach, highest)
        return cls(value, n, standard_error, low, high, meaning)

    @classmethod
    def with_halves(
        cls,
        value: float,
        halves: HalfSamples,
        n: int,
        lowest: float = -math.inf,
        highest: float = math.inf,
        details: Mapping[str, Any] | None = None,
    ) -> "Measurement":
        """A value with the error that half samples show, and Student's interval of it.

        Their values are kept, so that two models can be compared on the same halves of the data.
        """
        error = halves.standard_error
        kept = {"values": list(halves.values), "share": halves.share}
        freedom = halves.freedom
        measured = cls.with_error(value, error, n, "estimate", lowest, highest, freedom)
        return replace(measured, details={**(details or {}), "half_samples": kept})

    @classmethod
    def of_statistic(
        cls,
        statistic: Callable[..., float],
        *,
        drawn: torch.Generator,
        n: int,
        most: int | None = None,
        lowest: float = -math.inf,
        highest: float = math.inf,
        details: Mapping[str, Any] | None = None,
        **sets: Tensor,
    ) -> "Measurement":
        """A statistic of whole sets, with the error that it shows on halves of them.

        Args:
            statistic: takes the sets by their names, as `statistic(real=..., generated=...)`.
            drawn: draws the halves; equal seeds and sizes give equal halves.
            n: examples that the value rests on.
            most: examples of a half at most.
            lowest: the least that the metric can be, and
            highest: the most.
            details: kept with the value.
            sets: [m, ...] examples by name, m >= 4.
        """
        value = statistic(**sets)
        halves = half_samples(statistic, generator=drawn, repeats=REPEATS, most=most, **sets)
        return cls.with_halves(value, halves, n, lowest, highest, details)

    @classmethod
    def mean_of(
        cls,
        values: Tensor,
        meaning: Meaning = "estimate",
        details: Mapping[str, Any] | None = None,
    ) -> "Measurement":
        """The mean over examples [n] with its standard error, the values themselves kept."""
        values = values.double().cpu()
        error = (values.std() / math.sqrt(len(values))).item()
        n = len(values)
        measured = cls.with_error(values.mean().item(), error, n, meaning, freedom=n - 1)
        kept = values.numpy().astype(np.float32)
        return replace(measured, per_example=kept, details=details or {})


@dataclass(frozen=True)
class Features:
    """What a network makes of images: features [n, d] and class logits [n, k], float32, CPU."""

    features: Tensor
    logits: Tensor


class FeatureNetwork(Protocol):
    """A frozen network; `name` says which, and values of different names never compare."""

    name: str

    def __call__(self, images: Tensor, levels: int) -> Features:
        """Features of integer images [n, C, H, W]."""
        ...


@dataclass(frozen=True)
class Assigned:
    """Where n samples belong among k modes.

    Args:
        mode: [n] index of the nearest mode, int64.
        high_quality: [n] whether the sample is near enough to count for it.
    """

    mode: Tensor
    high_quality: Tensor


class KnownModes(Protocol):
    """What a data set is made of, where that can be counted: the modes that metrics rely on."""

    @property
    def weights(self) -> Tensor:
        """[k] true probabilities, positive, float64."""
        ...

    @property
    def perfect(self) -> float:
        """Share of a perfect sampler's samples that are of high quality."""
        ...

    def assign(self, x: Tensor) -> Assigned:
        """The nearest mode of every sample [n, *shape], and whether it is near enough."""
        ...


@runtime_checkable
class KnownMixture(KnownModes, Protocol):
    """A mixture of Gaussians of one covariance, of which the density is known."""

    @property
    def means(self) -> Tensor:
        """[k, d] centres of the modes, float64."""
        ...

    @property
    def threshold(self) -> float:
        """Distance from the nearest centre, after `whiten`, up to which quality is high."""
        ...

    @property
    def degrees(self) -> float:
        """Of freedom, of the chi-square that a true sample's squared distance has."""
        ...

    def whiten(self, x: Tensor) -> Tensor:
        """Points [n, d] in coordinates, float64, where distances count: each mode is a ball."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density [n] of points [n, d], nats."""
        ...


@dataclass(frozen=True)
class Cost:
    """What the model took, on the machine named in the cell's provenance."""

    parameters: int | None
    train_seconds: float | None
    sample_seconds: float | None
    samples_drawn: int
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Annealing:
    """How far annealed importance sampling goes; more of each number tightens its bounds.

    Args:
        examples: test examples that it is run on, the first ones.
        train_examples: training examples, for the gap between the two.
        simulated: examples drawn from the model, on which both bounds are had.
        chains: for each example.
        temperatures: intermediate distributions.
        leapfrog: steps of a trajectory, one trajectory a temperature.
        start: where the path sets out, "prior", "encoder" or "posterior"; "auto" takes the one
            with the highest bound on a few validation examples, the prior where latents are few.
        schedule: "adaptive", "sigmoid" or "linear".
        prior_draws: plain draws from the prior beside the chains, which find what chains miss
            where latents and data have few dimensions; 0 for none.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt key in a suite file

    examples: int = 100
    train_examples: int = 50
    simulated: int = 50
    chains: int = 16
    temperatures: int = 200
    leapfrog: int = 3
    start: Literal["auto", "prior", "encoder", "posterior"] = "auto"
    schedule: Literal["adaptive", "sigmoid", "linear"] = "adaptive"
    prior_draws: int = 0

    def __post_init__(self) -> None:
        least_of = {"temperatures": 1, "leapfrog": 1, "prior_draws": 0}
        for name, value in vars(self).items():
            least = least_of.get(name, 2)
            if isinstance(value, int) and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")

    def scaled(self, budget: float) -> "Annealing":
        """The same at a fraction of its length, and never below what gives an error bar."""
        if budget >= 1:
            return self
        shrunk = {
            name: min(getattr(self, name), max(least, round(getattr(self, name) * budget)))
            for name, least in SHORTEST.items()
        }
        return replace(self, **shrunk)


SHORTEST = {
    "examples": 20,
    "train_examples": 10,
    "simulated": 10,
    "temperatures": 20,
    "prior_draws": 10_000,
}


@dataclass(frozen=True)
class Evidence:
    """What one cell offers to its metrics. Metrics only read it.

    Args:
        model: has some of the protocols of `benchmark.spec`; None for samples alone.
        test: [t, *shape] held-out examples, for likelihoods.
        train, validation: [m, *shape] of the other splits, whole: for the gap between training
            and test likelihood, for memorisation, for choosing what an estimator has to choose.
        real: [n, *shape] reference examples, and
        generated: [n, *shape] as many samples of the model.
        network: what turns images into features, or why there is none.
        modes: the exact mixture, for toys that have one.
        seed: of everything that draws, together with the metric's own name.
        batch_size: examples that go through a model at once.
        shared: what several metrics read, computed by the first of them.
        annealing: how log p(x) of latent-variable models is estimated.
        quadrature: whether that of models with one or two latents is integrated instead.
        progress: told of (stage, step, total) by metrics that take minutes.
        training: what the cell holds of its training (`benchmark.store.Cell.training`).
        test_labels, train_labels: classes of the two splits, where they have any; `test` holds
            the first ones of its own.
    """

    spec: DataSpec
    model: object | None
    test: Tensor
    real: Tensor
    generated: Tensor
    network: FeatureNetwork | str
    modes: KnownModes | None
    cost: Cost
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 100
    shared: dict[str, Any] = field(default_factory=dict, compare=False)
    train: Tensor | None = None
    validation: Tensor | None = None
    annealing: Annealing = field(default_factory=Annealing)
    quadrature: bool = False
    progress: Callable[[str, int, int], None] = lambda stage, step, total: None
    training: Mapping[str, Any] = field(default_factory=dict, compare=False)
    test_labels: Tensor | None = None
    train_labels: Tensor | None = None

    @cached_property
    def real_features(self) -> Features:
        return self._features(self.real)

    @cached_property
    def generated_features(self) -> Features:
        return self._features(self.generated)

    @cached_property
    def assigned(self) -> Assigned:
        """Which of the known modes every generated sample belongs to."""
        if self.modes is None:
            raise NotApplicable("no known modes: what this data set is made of cannot be counted")
        return self.modes.assign(self.generated)

    def _features(self, images: Tensor) -> Features:
        if isinstance(self.network, str):
            raise NotApplicable(self.network)
        assert self.spec.levels is not None
        return self.network(images, self.spec.levels)


@dataclass(frozen=True)
class Conditions:
    """What a suite fixes for a data set, and every model is measured under.

    Args:
        samples: how many a model gives to the sample metrics.
        examples: how many test examples the likelihood is averaged over.
        network: name of the feature network, None where there is none.
        reference: the split that sample metrics compare with; published values of CIFAR-10 use
            the training set.
        annealing: how log p(x) of latent-variable models is estimated.
        metrics: names of those that are measured, None for all.
        quadrature: whether log p(x) of models with one or two latents is integrated instead.
    """

    samples: int
    examples: int
    network: str | None
    reference: Reference = "test"
    annealing: Annealing = field(default_factory=Annealing)
    metrics: tuple[str, ...] | None = None
    quadrature: bool = False


def nothing_of(conditions: Conditions) -> Mapping[str, Any]:
    """The settings of a metric that depends on none."""
    return {}


@dataclass(frozen=True)
class Metric:
    """A named measurement. Raise `version` with any change that moves its values.

    Args:
        name: in results.csv.
        label: in the head of a table.
        table: which table it stands in.
        unit: of value, standard error and interval.
        better: which way is good; None where there is no such way.
        measure: the work; raises NotApplicable with a reason.
        settings: which of the conditions the answer depends on; they become part of the stored
            question, in plain JSON types.
        decimals: shown in tables.
    """

    name: str
    label: str
    table: Table
    unit: str
    better: Better | None
    measure: Callable[[Evidence], Measurement]
    version: int = 1
    settings: Callable[[Conditions], Mapping[str, Any]] = nothing_of
    decimals: int = 2
