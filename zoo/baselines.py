"""Floors and ceilings as ordinary models: the best and the worst rows that can be had."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from benchmark.spec import DataSpec, Log
from zoo.fitted import Fitted, check_enough


class HeldOutData(Fitted):
    """The ceiling: real examples of the validation split, none twice.

    No model is better than the data themselves, so what separates this row from perfection is
    the noise of the metric at its sample size.
    """

    examples: Tensor  # [n, *shape]

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "examples")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        self.examples = validation

    def sample(self, n: int) -> Tensor:
        check_enough(n, self.examples, "held-out")
        return self.examples[torch.randperm(len(self.examples), device=self.examples.device)[:n]]


class Memoriser(Fitted):
    """Training examples again, none twice: perfect samples that nothing was learnt for."""

    examples: Tensor  # [n, *shape]

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "examples")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        self.examples = train

    def sample(self, n: int) -> Tensor:
        check_enough(n, self.examples, "training")
        return self.examples[torch.randperm(len(self.examples), device=self.examples.device)[:n]]


class Collapsed(Fitted):
    """One image again and again; of points, one mode: the cluster around one of them.

    The cluster ends at the widest gap between successive distances from that point, looked for
    among the nearer half of all.
    """

    examples: Tensor  # [k, *shape]

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "examples")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        chosen = train[torch.randint(len(train), (1,), device=train.device)]
        if self.spec.is_image:
            self.examples = chosen
            return
        distances, order = (train - chosen).flatten(1).norm(dim=1).sort()
        gaps = distances.diff()[: len(train) // 2]
        self.examples = train[order[: int(gaps.argmax()) + 1]]

    def sample(self, n: int) -> Tensor:
        count = len(self.examples)
        return self.examples[torch.randint(count, (n,), device=self.examples.device)]


class Noise(Fitted):
    """Uniform over all images, or over the box around the training points. An exact density.

    Args:
        spec: of the data.
        margin: share of the points' extent that is added to the box on each side, so that held-out
            points lie inside; the more dimensions, the more of it that takes.
    """

    low: Tensor  # [dims]
    width: Tensor  # [dims]

    def __init__(self, spec: DataSpec, margin: float = 0.1) -> None:
        super().__init__(spec, "low", "width")
        self.margin = margin

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        if self.spec.levels is not None:
            self.low = torch.zeros(self.spec.dims, device=train.device)
            self.width = torch.full_like(self.low, self.spec.levels)
            return
        points = train.flatten(1)
        extent = points.amax(dim=0) - points.amin(dim=0)
        self.low = points.amin(dim=0) - self.margin * extent
        self.width = extent * (1 + 2 * self.margin)

    def sample(self, n: int) -> Tensor:
        uniform = torch.rand(n, self.spec.dims, device=self.low.device)
        x = (self.low + self.width * uniform).view(n, *self.spec.shape)
        if self.spec.levels is None:
            return x
        return x.floor().clamp(max=self.spec.levels - 1).to(torch.uint8)

    def log_prob(self, x: Tensor) -> Tensor:
        inside = (x.flatten(1) >= self.low) & (x.flatten(1) <= self.low + self.width)
        value = -self.width.double().log().sum()
        return torch.where(inside.all(dim=1), value, -math.inf)


class PixelMarginals(Fitted):
    """Every sub-pixel drawn on its own from its training histogram, smoothed by one count."""

    log_mass: Tensor  # [dims, levels]

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "log_mass")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        assert self.spec.levels is not None
        counts = torch.ones(self.spec.dims, self.spec.levels, device=train.device)
        for rows in train.flatten(1).split(1_000):
            columns = rows.T.long()
            counts.scatter_add_(1, columns, torch.ones_like(columns, dtype=counts.dtype))
        self.log_mass = (counts / counts.sum(dim=1, keepdim=True)).log()

    def sample(self, n: int) -> Tensor:
        drawn = torch.multinomial(self.log_mass.exp(), n, replacement=True)  # [dims, n]
        return drawn.T.reshape(n, *self.spec.shape).to(torch.uint8)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_mass.gather(1, x.flatten(1).long().T).double().sum(dim=0)


class CoordinateMarginals(Fitted):
    """Every coordinate drawn on its own from its training histogram, with a Gaussian for the rest.

    A thousandth of the mass is a wide normal distribution, so that no point has density zero.
    """

    log_mass: Tensor  # [dims, bins], of the histogram
    low: Tensor  # [dims]
    bin_width: Tensor  # [dims]

    BINS = 200
    REST = 1e-3

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "log_mass", "low", "bin_width")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        points = train.flatten(1)
        self.low = points.amin(dim=0)
        self.bin_width = (points.amax(dim=0) - self.low) / self.BINS
        counts = torch.ones(self.spec.dims, self.BINS, device=train.device)
        index = self._bin(points).clamp(0, self.BINS - 1).T
        counts.scatter_add_(1, index, torch.ones_like(index, dtype=counts.dtype))
        self.log_mass = (counts / counts.sum(dim=1, keepdim=True)).log()

    def sample(self, n: int) -> Tensor:
        index = torch.multinomial(self.log_mass.exp(), n, replacement=True).T  # [n, dims]
        uniform = torch.rand(n, self.spec.dims, device=self.low.device)
        histogram = self.low + (index + uniform) * self.bin_width
        rest = torch.rand(n, self.spec.dims, device=self.low.device) < self.REST
        x = torch.where(rest, self._wide().sample(torch.Size((n,))), histogram)
        return x.view(n, *self.spec.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        index = self._bin(x)
        inside = (index >= 0) & (index < self.BINS)
        mass = self.log_mass.gather(1, index.clamp(0, self.BINS - 1).T).T
        histogram = torch.where(inside, mass - self.bin_width.log(), -math.inf)
        wide = self._wide().log_prob(x) + math.log(self.REST)
        return torch.logaddexp(histogram + math.log1p(-self.REST), wide).double().sum(dim=1)

    def _bin(self, x: Tensor) -> Tensor:
        return ((x - self.low) / self.bin_width).floor().long()

    def _wide(self) -> Normal:
        extent = self.bin_width * self.BINS
        return Normal(self.low + extent / 2, extent)


def marginals(spec: DataSpec) -> PixelMarginals | CoordinateMarginals:
    """Independent sub-pixels or coordinates, with an exact likelihood."""
    return PixelMarginals(spec) if spec.is_image else CoordinateMarginals(spec)
