"""Kernels between vectors, and their sums over pairs, one tile of the kernel matrix at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.inputs import check_vectors

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the bandwidth; each the double of the one before
ALPHAS = (0.2, 0.5, 1.0, 2.0, 5.0)
MOST_FOR_MEDIAN = 2_000
TILE = 1_000  # rows and columns of the kernel matrix that are held at once

Tick = Callable[[], None]


class Kernel(Protocol):
    """A positive definite function k(x, y) of two vectors."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """[n, m] values between the rows of x [n, d] and of y [m, d], both float64."""
        ...


@dataclass(frozen=True)
class GaussianMixture:
    """The mean of five kernels exp(-|x - y|² / (2 b²)); k(x, x) = 1.

    Their b are 1/4, 1/2, 1, 2 and 4 times the bandwidth: no single one suits both coarse and
    fine differences.

    Args:
        bandwidth: a length, `median_distance` of the data.

    Source: Gretton et al. 2012, "A kernel two-sample test", JMLR 13, section 8.
    """

    bandwidth: float

    def __post_init__(self) -> None:
        _check_bandwidth(self.bandwidth)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        widest = self.bandwidth * SCALES[-1]
        term = _squared_distances(x, y).mul_(-0.5 / widest**2).exp_()
        total = term.clone()
        for _ in SCALES[1:]:
            # Half the bandwidth is the fourth power of the kernel: one exponential serves all.
            term.square_().square_()
            total += term
        return total.div_(len(SCALES))


@dataclass(frozen=True)
class RationalQuadratic:
    """The mean of five kernels (1 + |x - y|² / (2 α b²))^-α, α = 0.2, 0.5, 1, 2, 5; k(x, x) = 1.

    Its tails are heavy, so that sets far apart still differ in how far. The source sums the five
    and takes b = 1; here they are averaged, and b makes the value free of the data's unit.

    Args:
        bandwidth: the length b, `median_distance` of the data.

    Source: Bińkowski et al. 2018, arXiv:1801.01401, section 2.1 and appendix C.
    """

    bandwidth: float

    def __post_init__(self) -> None:
        _check_bandwidth(self.bandwidth)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squares = _squared_distances(x, y).div_(2 * self.bandwidth**2)
        total = torch.zeros_like(squares)
        for alpha in ALPHAS:
            total += _inverse_power(squares.div(alpha), alpha)
        return total.div_(len(ALPHAS))


@dataclass(frozen=True)
class Polynomial:
    """The kernel (x·y / d + 1)³ of the kernel inception distance.

    It sees the first three moments of the features, and is moved by the choice of their origin.

    Source: Bińkowski et al. 2018, arXiv:1801.01401, section 4.
    """

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return _inner_products(x, y).div_(x.shape[1]).add_(1).pow_(3)


def median_distance(vectors: Tensor) -> float:
    """Median distance between two of at most 2,000 examples [n, d], evenly spaced in their set.

    Raises:
        NotApplicable: it is zero, since half of the pairs coincide.
    """
    check_vectors(vectors=vectors)
    rows = torch.linspace(0, len(vectors) - 1, min(len(vectors), MOST_FOR_MEDIAN)).long()
    median = torch.pdist(vectors[rows.to(vectors.device)].double()).median().item()
    if median == 0:
        raise NotApplicable("most examples coincide, so that no bandwidth follows from them")
    return median


@dataclass(frozen=True)
class SumsWithin:
    """Sums of a kernel between different examples of one set.

    Args:
        subsets: [c] over the ordered pairs of different members of each subset.
        examples: [n] over the pairs that an example is in.
    """

    subsets: Tensor
    examples: Tensor


def sums_within(kernel: Kernel, x: Tensor, members: Tensor, tick: Tick) -> SumsWithin:
    """Sums of k(x_i, x_j), i and j different, in subsets of one set.

    Args:
        kernel: k.
        x: [n, d] vectors.
        members: [n, c] booleans, which examples each of c subsets has.
        tick: called `tiles_within(n)` times.

    Returns:
        Sums accumulated in float64, whatever the type of x.
    """
    members = members.to(x.device)
    subsets = x.new_zeros(members.shape[1], dtype=torch.float64)
    examples = x.new_zeros(len(x), dtype=torch.float64)
    tiles = [list(part.split(TILE)) for part in (x, members, examples)]
    for first, (rows, inside, sums) in enumerate(zip(*tiles, strict=True)):
        rows, inside = rows.double(), inside.double()
        for second in range(first, len(tiles[0])):
            columns, others, other_sums = (part[second] for part in tiles)
            values = kernel(rows, columns.double())
            if second == first:
                values.fill_diagonal_(0.0)
            else:
                other_sums += values.sum(dim=0)
            sums += values.sum(dim=1)
            pairs = (inside * (values @ others.double())).sum(dim=0)
            subsets += pairs if second == first else 2 * pairs
            tick()
    return SumsWithin(subsets, examples)


def sums_between(
    kernel: Kernel, x: Tensor, y: Tensor, rows: Tensor, columns: Tensor, tick: Tick
) -> Tensor:
    """[c] sums of k(x_i, y_j) over the members i of `rows` [n, c] and j of `columns` [m, c].

    As `sums_within`; `tick` is called `tiles_between(n, m)` times.
    """
    rows, columns = rows.to(x.device), columns.to(x.device)
    totals = x.new_zeros(rows.shape[1], dtype=torch.float64)
    for part, inside in zip(x.split(TILE), rows.split(TILE), strict=True):
        part, inside = part.double(), inside.double()
        for other, others in zip(y.split(TILE), columns.split(TILE), strict=True):
            values = kernel(part, other.double())
            totals += (inside * (values @ others.double())).sum(dim=0)
            tick()
    return totals


def tiles_within(n: int) -> int:
    """Tiles on and above the diagonal of the kernel matrix of n examples."""
    strips = -(-n // TILE)
    return strips * (strips + 1) // 2


def tiles_between(n: int, m: int) -> int:
    """Tiles of the kernel matrix between n and m examples."""
    return -(-n // TILE) * -(-m // TILE)


def _inner_products(x: Tensor, y: Tensor) -> Tensor:
    if x.device.type != "cpu":
        return x @ y.T
    # numpy, unlike torch, halves the work where x is y.
    return torch.from_numpy(x.numpy() @ y.numpy().T)


def _inverse_power(values: Tensor, exponent: float) -> Tensor:
    """(1 + values)^-exponent, in place of the values."""
    if exponent in (0.5, 1.0, 2.0):  # of these torch has fast powers, of others slow ones
        return values.add_(1).pow_(-exponent)
    if exponent == 5.0:
        inverse = values.add_(1).reciprocal_()
        return inverse.mul_(inverse.square().square_())
    return values.log1p_().mul_(-exponent).exp_()


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    # Distances come from inner products, which lose digits far from the origin.
    centre = y.mean(dim=0)
    x, y = x - centre, y - centre
    norms = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return norms.addmm_(x, y.T, alpha=-2).clamp_(min=0)


def _check_bandwidth(bandwidth: float) -> None:
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}")
