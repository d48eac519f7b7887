"""Sliced and max-sliced 2-Wasserstein distances: one-dimensional transport along directions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.randomness import derive_seed, generator

DIRECTIONS = 1_000
MOST_FOR_HALVES = 500  # examples of a subset that only the error bar needs
DIRECTIONS_AT_ONCE = 200
STARTS = 3
STEPS = 40
FIRST_TURN = 0.3  # radians

Pairs = tuple[Tensor, Tensor, Tensor]  # [p] places in one sorted set, [p] in another, [p] weights


def sliced(evidence: Evidence) -> Measurement:
    """The root mean square over 1,000 directions, the same ones for every model."""
    real, generated = compared_vectors(evidence)
    directions = random_directions(DIRECTIONS, real.shape[1], generator("directions"))
    return Measurement.of_statistic(
        partial(sliced_wasserstein, directions=directions),
        drawn=generator("sliced", evidence.seed),
        n=len(generated),
        most=MOST_FOR_HALVES,
        lowest=0.0,
        real=real,
        generated=generated,
    )


def max_sliced(evidence: Evidence) -> Measurement:
    """The distance along the direction in which it is found to be largest."""
    real, generated = compared_vectors(evidence)
    seed = derive_seed("max_sliced", evidence.seed)
    return Measurement.of_statistic(
        partial(max_sliced_wasserstein, seed=seed),
        drawn=generator("max_sliced halves", evidence.seed),
        n=len(generated),
        most=MOST_FOR_HALVES,
        lowest=0.0,
        real=real,
        generated=generated,
    )


def random_directions(count: int, width: int, drawn_by: torch.Generator) -> Tensor:
    """Unit vectors [count, width], uniform on the sphere, float64."""
    directions = torch.randn(count, width, generator=drawn_by, dtype=torch.float64)
    return directions / directions.norm(dim=1, keepdim=True)


def sliced_wasserstein(*, real: Tensor, generated: Tensor, directions: Tensor) -> float:
    """Square root of the mean, over directions, of the squared distance of the projections.

    Sorting takes most of the time, so that float32 vectors are projected and sorted as float32,
    around the mean of the real ones; squares are summed in float64.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.
        directions: [k, d] unit vectors.

    Returns:
        A length in the unit of the vectors, 0 for equal sets. Biased upwards by about
        n^(-1/2) in any dimension: compare at equal n, with the row of real data.

    Source: Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures",
    doi:10.1007/s10851-014-0506-3, at p = 2.
    """
    check_vectors(real=real, generated=generated)
    check_vectors(at_least=1, real=real[:1], directions=directions)
    with ThreadPoolExecutor(min(2, torch.get_num_threads())) as pool:
        squares = [
            _squared_distances(*pool.map(_sort_rows, pair))
            for pair in _projected(real, generated, directions)
        ]
    return torch.cat(squares).mean().sqrt().item()


def max_sliced_wasserstein(*, real: Tensor, generated: Tensor, seed: int) -> float:
    """The largest distance of the projections along one direction that an ascent finds.

    The ascent sets out from the difference of the means and from the best two of 100 random
    directions, and turns each along its gradient by an angle that grows after a success and is
    halved after a failure.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.
        seed: of the random directions.

    Returns:
        A length in the unit of the vectors, between the sliced distance and W₂; 0 for equal
        sets. A local maximum, so a lower bound of the definition's; and since the direction is
        fitted to the examples, biased upwards, the more the higher d: compare at equal n, with
        the row of real data.

    Source: Deshpande et al. 2019, arXiv:1904.05877, section 4.
    """
    check_vectors(real=real, generated=generated)
    centre = real.double().mean(dim=0)
    x, y = real.double() - centre, generated.double() - centre
    pairs = _quantile_pairs(len(x), len(y), x.device)
    directions = _starts(x, y, seed)
    best, slopes = _distances_and_slopes(x, y, directions, pairs)
    turns = torch.full_like(best, FIRST_TURN)
    for _ in range(STEPS):
        proposed = _turned(directions, slopes, turns)
        found, new_slopes = _distances_and_slopes(x, y, proposed, pairs)
        better = found > best
        turns = torch.where(better, turns * 1.5, turns / 2)
        best = torch.where(better, found, best)
        directions = torch.where(better[:, None], proposed, directions)
        slopes = torch.where(better[:, None], new_slopes, slopes)
    return best.max().sqrt().item()


def _projected(
    real: Tensor, generated: Tensor, directions: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the projections [some, n] and [some, m] for a few directions after another."""
    kept = torch.float64 if real.dtype == torch.float64 else torch.float32
    # One shift of both sets changes no distance; near the origin their digits are kept.
    centre = real.to(kept).mean(dim=0)
    x, y = (vectors.to(kept) - centre for vectors in (real, generated))
    for part in directions.to(x).split(DIRECTIONS_AT_ONCE):
        yield part @ x.T, part @ y.T


def _sort_rows(projections: Tensor) -> Tensor:
    # numpy sorts contiguous rows with vector instructions, in place and without a permutation.
    rows = projections.cpu().numpy()
    rows.sort(axis=1)
    return torch.from_numpy(rows)


def _squared_distances(real: Tensor, generated: Tensor) -> Tensor:
    """[k] squared 2-Wasserstein distances between sorted rows [k, n] and [k, m], float64."""
    n, m = real.shape[1], generated.shape[1]
    if n == m:
        return (real - generated).square().sum(dim=1, dtype=torch.float64) / n
    rows, columns, weights = _quantile_pairs(n, m, real.device)
    gaps = real[:, rows] - generated[:, columns]
    return gaps.double().square() @ weights


def _quantile_pairs(n: int, m: int, device: torch.device) -> Pairs:
    """Which of n sorted examples meets which of m, and the share of mass that passes there.

    Both quantile functions are steps; in units of 1 / (n m) their edges are whole numbers.
    """
    steps_n, steps_m = (torch.arange(size + 1, device=device) for size in (n, m))
    edges = torch.cat([steps_n * m, steps_m * n]).unique()
    widths = edges.diff()
    return edges[:-1] // m, edges[:-1] // n, widths.double() / (n * m)


def _starts(x: Tensor, y: Tensor, seed: int) -> Tensor:
    """[STARTS, d] unit vectors: the difference of the means, and the best of random ones."""
    drawn_by = torch.Generator().manual_seed(seed)
    tried = random_directions(100, x.shape[1], drawn_by).to(x.device)
    means = (y.mean(dim=0) - x.mean(dim=0))[None]
    if means.norm() > 0:
        tried = torch.cat([tried, means / means.norm()])
    pairs = _sort_rows(tried @ x.T), _sort_rows(tried @ y.T)
    order = _squared_distances(*pairs).argsort(descending=True)
    last = torch.tensor([len(tried) - 1])
    return tried[torch.cat([last, order[order != last][: STARTS - 1]]).to(x.device)]


def _distances_and_slopes(
    x: Tensor, y: Tensor, directions: Tensor, pairs: Pairs
) -> tuple[Tensor, Tensor]:
    """[k] squared distances along directions [k, d], and their gradients [k, d].

    The gradient is that of the weighted squares with every example kept to its partner.
    """
    rows, columns, weights = pairs
    (along_x, order_x), (along_y, order_y) = (_sorted(directions @ z.T) for z in (x, y))
    gaps = along_x[:, rows] - along_y[:, columns]
    pulls = gaps * weights
    of_x, of_y = torch.zeros_like(along_x), torch.zeros_like(along_y)
    of_x.scatter_add_(1, order_x[:, rows], pulls)
    of_y.scatter_add_(1, order_y[:, columns], pulls)
    return (gaps * pulls).sum(dim=1), 2 * (of_x @ x - of_y @ y)


def _sorted(projections: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted rows of [k, n], and where each of their values stood."""
    # As above, numpy's sort is the one with vector instructions.
    order = torch.from_numpy(projections.cpu().numpy().argsort(axis=1)).to(projections.device)
    return projections.gather(1, order), order


def _turned(directions: Tensor, slopes: Tensor, turns: Tensor) -> Tensor:
    """Unit vectors [k, d] turned towards their slopes by the angles [k]."""
    tangents = slopes - (slopes * directions).sum(dim=1, keepdim=True) * directions
    tangents = tangents / tangents.norm(dim=1, keepdim=True).clamp(min=1e-300)
    turned = turns.cos()[:, None] * directions + turns.sin()[:, None] * tangents
    return turned / turned.norm(dim=1, keepdim=True)
