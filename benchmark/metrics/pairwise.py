"""Squared distances between two sets: fast float32 products, settled in float64 where it matters.

Source of the error bound: Higham and Mary 2019, "A new approach to probabilistic rounding error
analysis", SIAM Journal on Scientific Computing 41(5), theorem 3.1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

ROWS_AT_ONCE = 1_000
PAIRS_AT_ONCE = 250
OPEN_SHARE = 1 / 16  # of a block's pairs; with more left open, float64 products come first
FEW_DIMENSIONS = 8  # up to them, differences cost less than what products leave open


@dataclass(frozen=True)
class Distinct:
    """The distinct rows of a set: copies would only tie with each other.

    Args:
        rows: [u] where the first copy of each stands.
        counts: [u] how many copies there are.
        which: [n] the distinct row that each row is a copy of.
    """

    rows: Tensor
    counts: Tensor
    which: Tensor


def distinct_rows(vectors: Tensor) -> Distinct:
    """The rows of [n, d] that differ bit for bit, in the order of their first copies."""
    sums = torch.cat([part.sum(dim=1) for part in vectors.split(ROWS_AT_ONCE)])
    _, group, sizes = sums.unique(return_inverse=True, return_counts=True)
    first, seen = np.arange(len(vectors)), dict[bytes, int]()
    for row in (sizes[group] > 1).nonzero().flatten().tolist():
        first[row] = seen.setdefault(vectors[row].numpy().tobytes(), row)
    found = np.unique(first, return_inverse=True, return_counts=True)
    rows, which, counts = (torch.from_numpy(each) for each in found)
    return Distinct(rows, counts, which)


def blocks(size: int) -> list[slice]:
    """Consecutive ranges that cover 0..size - 1."""
    return [slice(at, min(at + ROWS_AT_ONCE, size)) for at in range(0, size, ROWS_AT_ONCE)]


class Distances:
    """Squared distances between two sets, [n, d] and [m, d], a block at a time.

    Args:
        x, y: the sets, on the CPU; neither is changed.
        centre: [d] a point among them. Products lose digits far from the origin.

    Attributes:
        from_differences: whether blocks come from float64 differences, as exact as single pairs.
        dtype: of blocks.
    """

    def __init__(self, x: Tensor, y: Tensor, centre: Tensor) -> None:
        self.x, self.y, self.centre = x, y, centre
        self.from_differences = x.shape[1] <= FEW_DIMENSIONS
        self.dtype = torch.float64 if self.from_differences else torch.float32
        self.near_x, self.lengths_x = self._around(x)
        self.near_y, self.lengths_y = (self.near_x, self.lengths_x) if y is x else self._around(y)

    def squares(
        self, rows: slice | Tensor, columns: slice, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """[r, c] squared distances from products, and bounds on how far each may be off."""
        if dtype == torch.float32:
            x, y = self.near_x[rows], self.near_y[columns]
        else:
            x, y = self.x[rows] - self.centre, self.y[columns] - self.centre
        sizes = (self.lengths_x[rows, None] + self.lengths_y[columns]).to(dtype)
        products = torch.addmm(sizes, x, y.T, alpha=-2)
        return products, sizes.mul_(relative_error(x.shape[1], dtype))

    def lower_bounds(self, rows: slice, columns: slice) -> Tensor:
        """[r, c] squared distances, or what they are at least where products give them."""
        if self.from_differences:
            return self._differences(rows, columns)
        squares, error = self.squares(rows, columns)
        return squares.sub_(error)

    def exact(self, pairs: Tensor) -> Tensor:
        """[p] sums of squared differences for pairs [p, 2] of a row and a column, float64."""
        parts = [
            (self.x[part[:, 0]].double() - self.y[part[:, 1]]).square_().sum(dim=1)
            for part in pairs.split(PAIRS_AT_ONCE)
        ]
        return torch.cat(parts)

    def below(self, rows: slice, columns: slice, limits: list[Tensor]) -> list[Tensor]:
        """Whether distances are below limits: for each [r, 1] or [1, c], booleans [r, c]."""
        if self.from_differences:
            squares = self._differences(rows, columns)
            return [squares < limit for limit in limits]
        squares, error = self.squares(rows, columns)
        return [self._below(rows, columns, limit, squares, error) for limit in limits]

    def _differences(self, rows: slice, columns: slice) -> Tensor:
        coordinates = zip(self.x[rows].double().T, self.y[columns].double().T, strict=True)
        return reduce(torch.add, [(x[:, None] - y).square_() for x, y in coordinates])

    def _below(
        self, rows: slice, columns: slice, limit: Tensor, squares: Tensor, error: Tensor
    ) -> Tensor:
        gaps = squares - limit.to(squares.dtype)
        below = gaps < 0
        undecided = (gaps.abs_() <= error).nonzero()
        if len(undecided) > OPEN_SHARE * gaps.numel() and squares.dtype != torch.float64:
            finer = self.squares(rows, columns, torch.float64)
            return self._below(rows, columns, limit, *finer)
        if len(undecided):
            row, column = undecided.T
            offsets = torch.tensor([rows.start, columns.start])
            limits = limit.expand_as(below)[row, column]
            below[row, column] = self.exact(undecided + offsets) < limits
        return below

    def _around(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors from the centre in float32, and their squared lengths [n] in float64."""
        near = torch.empty(vectors.shape, dtype=torch.float32)
        lengths = torch.empty(len(vectors), dtype=torch.float64)
        for rows in blocks(len(vectors)):
            moved = vectors[rows] - self.centre
            near[rows], lengths[rows] = moved, moved.square().sum(dim=1)
        return near, lengths


def relative_error(dims: int, dtype: torch.dtype) -> float:
    """Bound on the error of a squared distance from products, over the sum of squared lengths.

    In many dimensions rounding errors cancel: none of 10^15 pairs is expected beyond 10 √d.
    """
    return (min(dims, 10 * math.sqrt(dims)) / 2 + 8) * torch.finfo(dtype).eps


def mean_of(vectors: Tensor) -> Tensor:
    """[d] in float64, without a float64 copy of [n, d]."""
    totals = [part.double().sum(dim=0) for part in vectors.split(ROWS_AT_ONCE)]
    return torch.stack(totals).sum(dim=0) / len(vectors)


def upper_blocks(size: int) -> Iterator[tuple[slice, slice]]:
    """Ranges of rows and columns that hold every unordered pair of 0..size - 1 once."""
    ranges = blocks(size)
    for index, rows in enumerate(ranges):
        for columns in ranges[index:]:
            yield rows, columns
