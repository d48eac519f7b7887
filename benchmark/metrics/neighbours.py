"""Nearest neighbours and the balls that reach to them, exact and blockwise.

Float32 products propose and float64 differences decide (`pairwise`; in few dimensions, these
alone): the results are those of float64 throughout, ties included, and equal pairs of vectors are
equally far wherever they stand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.metrics.pairwise import (
    Distances,
    blocks,
    distinct_rows,
    mean_of,
    relative_error,
    upper_blocks,
)

Progress = Callable[[int, int], None]

SPARE = 3  # candidates kept beyond the neighbours asked for
OPEN_ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class Membership:
    """Which of n real and m generated vectors lie in balls around vectors of the other set.

    Args:
        real_balls: [m] how many real balls each generated vector lies in.
        used: [n] whether any generated vector lies in the ball around each real one.
        reached: [n] whether each real vector lies in any generated ball.
    """

    real_balls: Tensor
    used: Tensor
    reached: Tensor


def squared_radii(
    vectors: Tensor, neighbours: Sequence[int], progress: Progress = lambda step, total: None
) -> Tensor:
    """Squared distances from each vector to its k-th nearest other one, for several k.

    Args:
        vectors: [n, d], n > max(neighbours).
        neighbours: each k, from 1.
        progress: told of blocks done and of all of them.

    Returns:
        [len(neighbours), n], float64; 0 where a vector has k copies.
    """
    most = max(neighbours)
    if min(neighbours) < 1 or len(vectors) <= most:
        raise ValueError(
            f"neighbours must lie in 1..{len(vectors) - 1} for {len(vectors)} vectors, "
            f"got {sorted(neighbours)}"
        )
    # Of more than k + 1 copies, k + 1 already give every one of them the radius 0.
    distinct = distinct_rows(vectors)
    order = distinct.which.argsort(stable=True)
    starts = distinct.counts.cumsum(0) - distinct.counts
    copy = torch.arange(len(order)) - starts.repeat_interleave(distinct.counts)
    kept = order[copy <= most].sort().values
    if len(kept) == len(vectors):
        return _radii(vectors, neighbours, progress)
    place = torch.zeros_like(starts).scatter_(0, distinct.which[kept], torch.arange(len(kept)))
    return _radii(vectors[kept], neighbours, progress)[:, place[distinct.which]]


def membership(
    *,
    real: Tensor,
    generated: Tensor,
    real_radii: Tensor,
    generated_radii: Tensor,
    progress: Progress = lambda step, total: None,
) -> list[Membership]:
    """Who lies in whose open ball, for each of several pairs of radii.

    Args:
        real: [n, d] vectors, and
        generated: [m, d] vectors.
        real_radii: [k, n] squared radii around the real vectors, and
        generated_radii: [k, m] around the generated ones, as `squared_radii` gives them.
        progress: told of blocks done and of all of them.
    """
    few_r, few_g = distinct_rows(real), distinct_rows(generated)
    x, y = _taken(real, few_r.rows), _taken(generated, few_g.rows)
    distances = Distances(x, y, mean_of(real))
    around_r, around_g = real_radii[:, few_r.rows], generated_radii[:, few_g.rows]
    balls = torch.zeros(len(real_radii), len(y))
    used, reached = (torch.zeros(len(real_radii), len(x), dtype=torch.bool) for _ in range(2))
    pairs = [(rows, columns) for rows in blocks(len(x)) for columns in blocks(len(y))]
    for step, (rows, columns) in enumerate(pairs):
        progress(step, len(pairs))
        limits = [*around_r[:, rows, None], *around_g[:, None, columns]]
        within = distances.below(rows, columns, limits)
        for k in range(len(real_radii)):
            in_real, in_generated = within[k], within[len(real_radii) + k]
            balls[k, columns] += few_r.counts[rows].float() @ in_real.float()
            used[k, rows] |= in_real.any(dim=1)
            reached[k, rows] |= in_generated.any(dim=1)
    return [
        Membership(balls[k, few_g.which], used[k, few_r.which], reached[k, few_r.which])
        for k in range(len(real_radii))
    ]


def _taken(vectors: Tensor, rows: Tensor) -> Tensor:
    return vectors if len(rows) == len(vectors) else vectors[rows]


def _radii(vectors: Tensor, neighbours: Sequence[int], progress: Progress) -> Tensor:
    """`squared_radii` of vectors of which no great many are equal."""
    distances = Distances(vectors, vectors, mean_of(vectors))
    lower, where = _candidates(distances, max(neighbours) + SPARE, progress)
    if distances.from_differences:
        return lower.T[torch.tensor(neighbours) - 1]
    lengths = distances.lengths_x.to(lower.dtype)
    error = relative_error(vectors.shape[1], lower.dtype) * (lengths[:, None] + lengths[where])
    upper = lower + 2 * error
    radii = torch.stack([_settled(distances, lower, upper, where, k) for k in neighbours])
    if where.shape[1] == len(vectors) - 1:
        return radii
    # A vector that is no candidate is at least as far as the last candidate's lower bound.
    unsure = lower[:, -1] <= upper.kthvalue(max(neighbours), dim=1).values
    for rows in unsure.nonzero().flatten().split(OPEN_ROWS_AT_ONCE):
        radii[:, rows] = _open_radii(distances, rows, neighbours)
    return radii


def _settled(
    distances: Distances, lower: Tensor, upper: Tensor, where: Tensor, neighbour: int
) -> Tensor:
    """[n] squared distances to the k-th of the candidates [n, c], whose bounds are given."""
    least = lower.kthvalue(neighbour, dim=1, keepdim=True).values
    most = upper.kthvalue(neighbour, dim=1, keepdim=True).values
    nearer = upper < least
    pairs = (~nearer & (lower <= most)).nonzero()
    found = torch.full(lower.shape, torch.inf, dtype=torch.float64)
    rows, places = pairs.T
    found[rows, places] = distances.exact(torch.stack([rows, where[rows, places]], dim=1))
    rank = neighbour - 1 - nearer.sum(dim=1, keepdim=True)
    return found.sort(dim=1).values.gather(1, rank).squeeze(1)


def _candidates(distances: Distances, count: int, progress: Progress) -> tuple[Tensor, Tensor]:
    """[n, count] lowest bounds on distances to other vectors, in order, and which these are."""
    n = len(distances.x)
    count = min(count, n - 1)
    lower = torch.full((n, count), torch.inf, dtype=distances.dtype)
    where = torch.zeros(n, count, dtype=torch.long)

    def offer(rows: slice, columns: slice, bounds: Tensor) -> None:
        best = bounds.topk(min(count, bounds.shape[1]), largest=False)
        values = torch.cat([lower[rows], best.values], dim=1)
        places = torch.cat([where[rows], best.indices + columns.start], dim=1)
        lower[rows], chosen = values.topk(count, largest=False)
        where[rows] = places.gather(1, chosen)

    pairs = list(upper_blocks(n))
    for step, (rows, columns) in enumerate(pairs):
        progress(step, len(pairs))
        bounds = distances.lower_bounds(rows, columns)
        if rows == columns:
            offer(rows, columns, bounds.fill_diagonal_(torch.inf))
        else:
            offer(rows, columns, bounds)
            offer(columns, rows, bounds.T)
    return lower, where


def _open_radii(distances: Distances, rows: Tensor, neighbours: Sequence[int]) -> Tensor:
    """[len(neighbours), r] of rows [r] whose neighbours float32 cannot tell apart."""
    parts = [distances.squares(rows, part, torch.float64) for part in blocks(len(distances.y))]
    squares, error = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    squares.scatter_(1, rows[:, None], torch.inf)
    enough = (squares + error).kthvalue(max(neighbours), dim=1).values
    pairs = (squares - error <= enough[:, None]).nonzero()
    found = distances.exact(torch.stack([rows[pairs[:, 0]], pairs[:, 1]], dim=1))
    squares.fill_(torch.inf)[pairs[:, 0], pairs[:, 1]] = found
    return squares.topk(max(neighbours), largest=False).values.T[torch.tensor(neighbours) - 1]
