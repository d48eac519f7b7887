"""Parzen windows: log p(x) from samples alone, by a Gaussian kernel around each of them.

It is the estimate that early papers on GANs reported, and it is here to be distrusted: in more
than a few dimensions even many samples leave it far below the truth, and it ranks models wrongly
(it prefers cluster means to draws from the true distribution).

Points get a density. Images get a mass, on the axis of all other image likelihoods: a kernel
gives a level the part of its normal distribution that rounds to it, and what lies beyond the
lowest and highest levels to these two.

Source: Theis et al. 2016, arXiv:1511.01844, on Parzen window estimates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

# Two sets of flattened examples [n, d], [m, d] -> [n] log of the sum of kernels, nats.
Kernel = Callable[[Tensor, Tensor], Tensor]

TOLERANCE = 1e-6  # nats of an image's log-mass that the factors of a table may miss
NARROWEST = 0.1  # levels: a kernel that keeps all but 1e-6 of its mass where it is
WIDENINGS = 10  # doublings of the grid to either side
NEGLIGIBLE = -100.0  # nats below the nearest sample's: nothing in float64, and slow to compute
PRECISION = 1e-3  # relative, of a bandwidth
ROWS, ELEMENTS = 2_048, 4_000_000  # of a block: what is in memory at once, whatever n and m


@dataclass(frozen=True)
class Bandwidth:
    """A chosen bandwidth.

    Args:
        value: standard deviation of the kernel, in units of the data (levels of images).
        log_likelihood: mean over the validation examples, nats.
        at_edge: the likelihood still rose where the search ended.
    """

    value: float
    log_likelihood: float
    at_edge: bool


def parzen_log_likelihood(
    x: Tensor, samples: Tensor, bandwidth: float, levels: int | None = None
) -> Tensor:
    """Log-likelihood of x under an equal mixture of Gaussian kernels centred at the samples.

    Args:
        x: [n, *shape] floats, or integers 0..levels-1.
        samples: [m, *shape] of the same kind, on the same device.
        bandwidth: standard deviation of the kernel, in units of the data.
        levels: of images; None for points.

    Returns:
        [n] nats, float64: log-masses of images, log-densities of points.
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}")
    if not len(samples) or x.shape[1:] != samples.shape[1:]:
        raise ValueError(
            f"samples must be [m >= 1, *shape] with the shape of x, got {list(samples.shape)} "
            f"for x {list(x.shape)}"
        )
    x, samples = x.flatten(1), samples.flatten(1)
    dims = x.shape[1]
    kernel = _density(bandwidth) if levels is None else _mass(bandwidth, levels, dims, x.device)
    rows = _rows(dims)
    blocks = [_mixture(block, samples.split(rows), kernel) for block in x.split(rows)]
    return torch.cat(blocks) - math.log(len(samples))


def choose_bandwidth(samples: Tensor, validation: Tensor, levels: int | None = None) -> Bandwidth:
    """The bandwidth of the largest mean log-likelihood of held-out examples.

    A grid by factors of two, extended where its best point is an end, then Brent's method
    between the neighbours of the best. Where the derivative of the density's log-likelihood is
    zero, h² is a weighted mean of squared distances per coordinate that favours near samples: it
    lies between the mean to the nearest sample and the mean to all. There the grid begins.

    Args:
        samples: [m, *shape].
        validation: [n, *shape] examples that are not among the samples; of points, all n m
            squared distances are held at once.
        levels: of images; None for points.
    """
    from scipy.optimize import minimize_scalar

    if levels is None:
        log_likelihood = _of_points(validation, samples)
    else:
        log_likelihood = partial(parzen_log_likelihood, validation, samples, levels=levels)

    def loss(log_bandwidth: float) -> float:
        return -log_likelihood(bandwidth=math.exp(log_bandwidth)).mean().item()

    losses = _grid(loss, *_scales(samples, validation, levels), levels)
    best = min(losses, key=losses.__getitem__)
    below = [point for point in losses if point < best]
    above = [point for point in losses if point > best]
    if not below or not above:
        return Bandwidth(math.exp(best), -losses[best], at_edge=True)
    bounds = (max(below), min(above))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": PRECISION})
    return Bandwidth(math.exp(found.x), -float(found.fun), at_edge=False)


def _grid(
    loss: Callable[[float], float], nearest: float, farthest: float, levels: int | None
) -> dict[float, float]:
    """{log h: loss}, with the least one inside if WIDENINGS reach that far."""
    step = math.log(2)
    inner = math.ceil(math.log(farthest / nearest) / step)
    points = [math.log(nearest) + step * place for place in range(-1, inner + 2)]
    losses = {point: loss(point) for point in points}
    floor = -math.inf if levels is None else math.log(NARROWEST)
    for _ in range(WIDENINGS):
        best = min(losses, key=losses.__getitem__)
        if best == max(losses):
            losses[best + step] = loss(best + step)
        elif best == min(losses) and best > floor:
            losses[best - step] = loss(best - step)
    return losses


def _scales(samples: Tensor, validation: Tensor, levels: int | None) -> tuple[float, float]:
    """Root mean squared distance per coordinate, from validation to the nearest and all samples.

    Raises:
        ValueError: every validation example is among the samples of points, where the density
            grows without limit as the bandwidth shrinks.
    """
    x, centres = validation.flatten(1), samples.flatten(1)
    rows = _rows(x.shape[1])
    nearest, total = [], 0.0
    for block in x.split(rows):
        # Without the matrix product, whose rounding hides that two examples are one.
        distances = [
            torch.cdist(block.double(), part.double(), compute_mode="donot_use_mm_for_euclid_dist")
            for part in centres.split(rows)
        ]
        nearest.append(torch.stack([part.amin(dim=1) for part in distances]).amin(dim=0))
        total += sum(part.square().sum().item() for part in distances)
    dims = x.shape[1]
    least = math.sqrt(torch.cat(nearest).square().mean().item() / dims)
    mean = math.sqrt(total / (len(x) * len(centres) * dims))
    if levels is not None:
        least = max(least, 2 * NARROWEST)
    elif least == 0:
        raise ValueError("every validation example is among the samples: no bandwidth is best")
    return least, max(least, mean)


def _rows(dims: int) -> int:
    return max(1, min(ROWS, ELEMENTS // dims))


def _mixture(x: Tensor, parts: tuple[Tensor, ...], kernel: Kernel) -> Tensor:
    """[n] log of the sum over all samples, part by part."""
    return torch.stack([kernel(x, part) for part in parts]).logsumexp(dim=0)


def _of_points(x: Tensor, samples: Tensor) -> Callable[..., Tensor]:
    """`parzen_log_likelihood` of points, as a function of the bandwidth: distances stay."""
    x, samples = x.flatten(1), samples.flatten(1)
    rows = _rows(x.shape[1])
    held = [[_squares(block, part) for part in samples.split(rows)] for block in x.split(rows)]

    def log_likelihood(bandwidth: float) -> Tensor:
        sums = [torch.stack([part.log_sums(bandwidth) for part in parts]) for parts in held]
        return torch.cat([part.logsumexp(dim=0) for part in sums]) - math.log(len(samples))

    return log_likelihood


@dataclass(frozen=True)
class _Squares:
    """Squared distances from n points to m samples.

    Args:
        least: [n] to the nearest sample.
        excess: [n, m] what the others are above that.
        dims: of the points.
    """

    least: Tensor
    excess: Tensor
    dims: int

    def log_sums(self, bandwidth: float) -> Tensor:
        """[n] nats, the log of the sum of normal densities around the samples."""
        scale = -0.5 / bandwidth**2
        sums = (self.excess * scale).clamp_(min=NEGLIGIBLE).exp_().sum(dim=1)
        log_height = -self.dims * math.log(bandwidth * math.sqrt(2 * math.pi))
        return sums.log() + self.least * scale + log_height


def _squares(x: Tensor, samples: Tensor) -> _Squares:
    """By a matrix product, in float64."""
    centre = samples.double().mean(dim=0)  # far from the origin the product loses digits
    x, samples = x.double() - centre, samples.double() - centre
    squares = x.square().sum(dim=1, keepdim=True) + samples.square().sum(dim=1)
    squares.addmm_(x, samples.T, alpha=-2).clamp_(min=0)
    least = squares.amin(dim=1)
    return _Squares(least, squares.sub_(least[:, None]), x.shape[1])


def _density(bandwidth: float) -> Kernel:
    """The normal density."""
    return lambda x, samples: _squares(x, samples).log_sums(bandwidth)


def _mass(bandwidth: float, levels: int, dims: int, device: torch.device) -> Kernel:
    """The mass of a discretised normal: sums over pixels of a table at (level of x, of sample).

    Each factor of the table turns its part of the sum into a matrix product. A wide kernel's
    logarithm is nearly quadratic, so that few factors do; a narrow one's needs up to `levels`.
    """
    left, right = _factors(_log_masses(bandwidth, levels, device), TOLERANCE / dims)

    def kernel(x: Tensor, samples: Tensor) -> Tensor:
        x, samples = x.long(), samples.long()
        total = left.new_zeros(len(x), len(samples))
        for of_x, of_sample in zip(left, right, strict=True):
            total.addmm_(of_x[x], of_sample[samples].T)
        return total.logsumexp(dim=1)

    return kernel


def _log_masses(bandwidth: float, levels: int, device: torch.device) -> Tensor:
    """[levels of x, levels of the sample] log-mass of one pixel, float64."""
    level = torch.arange(levels, dtype=torch.float64, device=device)
    distance = (level[:, None] - level).abs()
    near = torch.special.log_ndtr((0.5 - distance) / bandwidth)
    far = torch.special.log_ndtr((-0.5 - distance) / bandwidth)
    table = near + torch.log1p(-(far - near).exp())
    # The end levels take all that lies beyond them.
    lowest, highest = (0.5 - level) / bandwidth, (level - (levels - 1.5)) / bandwidth
    table[0], table[-1] = torch.special.log_ndtr(lowest), torch.special.log_ndtr(highest)
    return table


def _factors(table: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Two [rank, levels] whose outer products add up to the table, as few as will do."""
    left, sizes, right = torch.linalg.svd(table)
    left = left.T * sizes[:, None]
    rest = table.clone()
    for rank, (of_x, of_sample) in enumerate(zip(left, right, strict=True), start=1):
        rest -= torch.outer(of_x, of_sample)
        if rest.abs().amax() <= tolerance:
            return left[:rank], right[:rank]
    return left, right
