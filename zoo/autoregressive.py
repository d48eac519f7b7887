"""What models share that give each pixel given those before it: likelihood, sampling, training."""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark.spec import DataSpec, Log
from zoo.classes import Classes
from zoo.halving import in_parts
from zoo.layers import Scaling
from zoo.train import adam, descend, linear_decay, scaled_steps
from zoo.train import train as run_training

VALIDATION_NUMBERS = 400_000  # coordinates: enough of them to choose by, however large the images
CHUNK_NUMBERS = 2_000_000  # in one layer's output: bounds memory however many are asked about
CACHE_NUMBERS = 250_000_000  # kept while images are drawn: 1 GB
CHUNK_SAMPLES = 1_000  # drawn at once, at most


class Conditionals(nn.Module):
    """Every pixel of scaled images given the pixels before it, or coordinate of scaled points.

    Positions are (H, W) in raster order, or (d,): a coordinate is a row of its own.

    Attributes:
        noise_shape: of the uniform numbers that one example is drawn from, (K, *positions).
        widest: how many numbers a layer gives at a position, at most.
        cached: how many numbers are kept for one example while it is drawn.
    """

    noise_shape: tuple[int, ...]
    widest: int
    cached: int

    def prepare(self, scaled: Tensor, labels: Tensor | None) -> None:
        """Sees a batch before training, for first values that depend on data; draws nothing."""

    def log_prob(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        """Log p(x_i given what is before it), [n, *positions] nats.

        Args:
            scaled: [n, *shape].
            labels: [n] classes, None for a model without.
        """
        raise NotImplementedError

    def draw(self, uniform: Tensor, known: Tensor, rows: int, labels: Tensor | None) -> Tensor:
        """Turns uniform numbers [n, *noise_shape] into scaled data [n, *shape].

        Args:
            uniform: equal numbers give equal data.
            known: [n, *shape] scaled data.
            rows: how many of their rows are kept, the first ones.
            labels: [n] classes, None for a model without.
        """
        raise NotImplementedError


class Autoregressive(nn.Module):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}), around which data are scaled.

    With classes the factors are those of p(x given y), and p(x) = sum_y p(y) p(x given y).

    Args:
        spec: of the data.
        conditionals: the factors.
        steps: of training, at budget 1.
        batch_size: of training.
        learning_rate: of Adam.
        ema_decay: of the averaged weights that are kept.
        classes: how many there are, None for a model that takes no labels.
    """

    def __init__(
        self,
        spec: DataSpec,
        conditionals: Conditionals,
        *,
        steps: int,
        batch_size: int,
        learning_rate: float,
        ema_decay: float,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.scaling = Scaling(spec)
        self.conditionals = conditionals
        self.classes = Classes(classes)
        self.steps, self.batch_size = steps, batch_size
        self.learning_rate, self.ema_decay = learning_rate, ema_decay
        self._chunk = max(1, CHUNK_NUMBERS // (math.prod(spec.shape[1:]) * conditionals.widest))
        self._tell: Callable[[int, int], None] = _silent
        self.eval()

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Exact log-mass of integer images or log-density of points, [n] nats.

        Args:
            x: [n, *shape].
            labels: [n] classes, for log p(x given y); None for log p(x).

        Raises:
            ValueError: x has another shape or other levels, or the labels do not suit the model.
        """
        check_data(x, self.spec)
        self.classes.check(labels, len(x))
        if labels is None and self.classes.count:
            return torch.logsumexp(self._joint(self._log_prob, x), dim=1)
        return in_parts(self._log_prob, _with(labels, x), self._chunk)

    def _log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        volume = 0.0 if self.spec.is_image else self.scaling.scale.log().sum()
        return self.conditionals.log_prob(self.scaling(x), labels).flatten(1).sum(dim=1) - volume

    def _joint(self, log_prob: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
        """Log p(y) p(x given y), [n, classes]."""
        each = [in_parts(log_prob, [x, same], self._chunk) for same in self.classes.each(len(x))]
        return torch.stack(each, dim=1) + self.classes.log_prior

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Draws [n, *shape]; each pixel costs one column of the network, not the whole image.

        Args:
            n: how many.
            labels: [n] classes; None for classes as frequent as in training.
        """
        if labels is None and self.classes.count:
            labels = self.classes.draw(n)
        blank = torch.zeros(n, *self.spec.shape, device=self.scaling.scale.device)
        return self.complete(blank, 0, labels)

    @torch.no_grad()
    def complete(self, x: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Draws the rest of images given their upper part, [n, *shape].

        Args:
            x: [n, *shape], of which only the first `rows` rows matter.
            rows: how many are kept, from 0 to all.
            labels: [n] classes; None for classes drawn given what is kept.

        Raises:
            ValueError: there are not so many rows, or as for `log_prob`.
        """
        height = self.conditionals.noise_shape[1]
        if not 0 <= rows <= height:
            raise ValueError(f"rows must lie between 0 and {height}, got {rows}")
        check_data(x, self.spec)
        self.classes.check(labels, len(x))
        if labels is None and self.classes.count:
            labels = self._labels_given(x, rows)
        parts: list[Tensor] = []
        for part in zip(*(each.split(CHUNK_SAMPLES) for each in _with(labels, x)), strict=True):
            parts.append(self._complete(rows, *part))
            self._tell(sum(map(len, parts)), len(x))
        return torch.cat(parts)

    def tell_progress(self, tell: Callable[[int, int], None]) -> None:
        """Tells of (examples drawn, examples in all) from now on."""
        self._tell = tell

    def _complete(self, rows: int, x: Tensor, labels: Tensor | None = None) -> Tensor:
        def draw(uniform: Tensor, x: Tensor, labels: Tensor | None = None) -> Tensor:
            scaled = self.conditionals.draw(uniform, self.scaling(x), rows, labels)
            return self.scaling.quantised(self.scaling.inverse(scaled))

        uniform = torch.rand(len(x), *self.conditionals.noise_shape, device=x.device)
        fitting = max(1, CACHE_NUMBERS // self.conditionals.cached)
        return in_parts(draw, [uniform, *_with(labels, x)], fitting)

    def _labels_given(self, x: Tensor, rows: int) -> Tensor:
        """Draws [n] from p(y given the first rows of x)."""

        def log_prob(x: Tensor, labels: Tensor) -> Tensor:
            terms = self.conditionals.log_prob(self.scaling(x), labels)
            return terms[:, :rows].flatten(1).sum(dim=1)

        posterior = self._joint(log_prob, x).softmax(dim=1)
        return torch.multinomial(posterior, 1)[:, 0]

    def fit(
        self,
        train: Tensor,
        validation: Tensor,
        budget: float,
        log: Log,
        labels: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Maximises the likelihood, of x given y where there are classes.

        Args:
            train: [n, *shape].
            validation: [m, *shape], to choose by.
            budget: fraction of the training length.
            log: takes the loss.
            labels: classes [n] and [m] of both, for a model with classes.
        """
        check_data(train, self.spec)
        steps = scaled_steps(self.steps, budget)
        known, held_out_labels = labels or (None, None)
        self.classes.learn(known)
        self.scaling.fit(train)
        first = [each[: self.batch_size] for each in _with(known, train)]
        self.conditionals.prepare(self.scaling(first[0]), first[1] if first[1:] else None)
        optimiser = adam(self.parameters(), self.learning_rate)
        few = slice(VALIDATION_NUMBERS // self.spec.dims)
        held_out = [each[few] for each in _with(held_out_labels, validation)]

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            chosen = draw()
            loss = -self._log_prob(*(each[chosen] for each in _with(known, train))).mean()
            descend(optimiser, loss)
            return {"loss": loss}

        run_training(
            self,
            update,
            optimisers=[optimiser],
            schedulers=[linear_decay(optimiser, steps, start=0.5)],
            data=torch.arange(len(train), device=train.device),
            steps=steps,
            batch_size=self.batch_size,
            log=log,
            sample=self.sample,
            ema_decay=self.ema_decay,
            validate=lambda m: -cast(Autoregressive, m).log_prob(*held_out).mean().item(),
            validate_every=max(100, steps // 20),
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As torch's.

        Raises:
            ValueError: names or shapes are not this model's.
        """
        found, own = _shapes(state_dict), _shapes(self.state_dict())
        if strict and found != own:
            name = min(n for n in found.keys() | own.keys() if found.get(n) != own.get(n))
            raise ValueError(
                "the checkpoint is from another configuration: build the model with the settings "
                f"it was trained with ({name}: {found.get(name)} there, {own.get(name)} here)"
            )
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def check_data(x: Tensor, spec: DataSpec) -> None:
    """Raises ValueError unless x are data [n, *shape], images with the levels they should have."""
    if x.shape[1:] != spec.shape:
        raise ValueError(f"data must be [n, {', '.join(map(str, spec.shape))}]: {list(x.shape)}")
    if spec.levels is None or not len(x):
        return
    low, high = (end.item() for end in x.aminmax())
    if not 0 <= low <= high < spec.levels:
        raise ValueError(
            f"images must have levels from 0 to {spec.levels - 1}, got some from {low:g} to "
            f"{high:g}: bring them to the levels of the model"
        )


def _silent(drawn: int, total: int) -> None:
    """Who watches nothing is told nothing."""


def _with(labels: Tensor | None, x: Tensor) -> list[Tensor]:
    return [x] if labels is None else [x, labels]


def _shapes(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}
