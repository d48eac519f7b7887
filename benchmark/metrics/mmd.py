"""Squared maximum mean discrepancy: unbiased estimates, and a permutation test of its p-value."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors, float64_device, pixels
from benchmark.metrics.kernels import (
    MOST_FOR_MEDIAN,
    TILE,
    GaussianMixture,
    Kernel,
    RationalQuadratic,
    Tick,
    median_distance,
    sums_between,
    sums_within,
    tiles_between,
    tiles_within,
)
from benchmark.metrics.resampling import REPEATS, HalfSamples, draw_subsets
from benchmark.randomness import generator

PERMUTATIONS = 999
ROUNDING = 1e-12  # statistics nearer than this are equal; the kernel is at most 1

Progress = Callable[[int, int], None]


def measure(evidence: Evidence) -> Measurement:
    """With Gaussian kernels, between features of images (else pixels) or between points."""
    return _measure(evidence, "mmd", GaussianMixture)


def rational_quadratic(evidence: Evidence) -> Measurement:
    """With rational quadratic kernels, between the same vectors."""
    return _measure(evidence, "mmd_rq", RationalQuadratic)


def p_value(evidence: Evidence) -> Measurement:
    """Of the permutation test that the same vectors have one distribution."""
    real, generated = _vectors(evidence)
    test = permutation_test(
        real=real,
        generated=generated,
        generator=generator("mmd_p", evidence.seed),
        progress=partial(evidence.progress, "mmd_p"),
    )
    details = {"statistic": test.statistic, "permutations": test.permutations}
    return Measurement(test.p_value, n=len(generated), details=details)


def squared_mmd(
    *,
    real: Tensor,
    generated: Tensor,
    kernel: Kernel,
    progress: Progress = lambda done, total: None,
) -> float:
    """Unbiased estimate of E[k(x, x')] + E[k(y, y')] - 2 E[k(x, y)].

    Computed in float64, in tiles of the kernel matrix, so that memory stays a few megabytes
    beside the two sets.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.
        kernel: k.
        progress: told of tiles of the kernel matrix (done, total).

    Returns:
        0 in expectation for equal distributions and so at times negative; below 2 for kernels
        of at most 1.

    Source: Gretton et al. 2012, "A kernel two-sample test", JMLR 13, eq. 3.
    """
    check_vectors(real=real, generated=generated)
    all_r, all_g = (x.new_ones(len(x), 1, dtype=torch.bool) for x in (real, generated))
    return squared_mmds(
        real=real,
        generated=generated,
        members_real=all_r,
        members_generated=all_g,
        kernel=kernel,
        progress=progress,
    ).item()


def squared_mmds(
    *,
    real: Tensor,
    generated: Tensor,
    members_real: Tensor,
    members_generated: Tensor,
    kernel: Kernel,
    progress: Progress = lambda done, total: None,
) -> Tensor:
    """As `squared_mmd`, for c pairs of subsets at once, from one pass over the kernel matrix.

    Args:
        real: [n, d] vectors of real data.
        generated: [m, d] vectors of generated data.
        members_real: [n, c] booleans: the real examples of each pair, 2 or more.
        members_generated: [m, c] booleans: its generated examples, 2 or more.
        kernel: k.
        progress: told of tiles of the kernel matrix (done, total).

    Returns:
        [c] estimates, float64.
    """
    within_tiles = tiles_within(len(real)) + tiles_within(len(generated))
    tick = _ticker(progress, within_tiles + tiles_between(len(real), len(generated)))
    within_r = sums_within(kernel, real, members_real, tick).subsets
    within_g = sums_within(kernel, generated, members_generated, tick).subsets
    between = sums_between(kernel, real, generated, members_real, members_generated, tick)
    n, m = (members.sum(dim=0).to(between) for members in (members_real, members_generated))
    return within_r / (n * (n - 1)) + within_g / (m * (m - 1)) - 2 * between / (n * m)


def measured_with_halves(
    *,
    real: Tensor,
    generated: Tensor,
    kernel: Kernel,
    drawn: torch.Generator,
    progress: Progress = lambda done, total: None,
) -> Measurement:
    """As `squared_mmd`, n and m >= 4, with the error that halves of the sets show.

    One pass over the kernel matrix serves the whole sets and all halves, which `drawn` draws.
    """
    sizes = {"real": len(real), "generated": len(generated)}
    halves = draw_subsets(sizes, share=0.5, generator=drawn, repeats=REPEATS)
    # Column 0 is the whole set, the others are halves: all share one pass over the kernel.
    members = {part: torch.zeros(n, 1 + REPEATS, dtype=torch.bool) for part, n in sizes.items()}
    for table in members.values():
        table[:, 0] = True
    for column, half in enumerate(halves, start=1):
        for part, rows in half.items():
            members[part][rows, column] = True
    values = squared_mmds(
        real=real,
        generated=generated,
        members_real=members["real"],
        members_generated=members["generated"],
        kernel=kernel,
        progress=progress,
    ).tolist()
    kept = HalfSamples(tuple(values[1:]), share=0.5)
    return Measurement.with_halves(values[0], kept, n=len(generated))


@dataclass(frozen=True)
class PermutationTest:
    """Of the hypothesis that two sets come from one distribution.

    Args:
        statistic: the squared MMD of the two sets.
        p_value: share of the divisions of the pooled set, the given one among them, whose
            statistic is as large.
        permutations: random divisions drawn.
    """

    statistic: float
    p_value: float
    permutations: int


def permutation_test(
    *,
    real: Tensor,
    generated: Tensor,
    generator: torch.Generator,
    permutations: int = PERMUTATIONS,
    progress: Progress = lambda done, total: None,
) -> PermutationTest:
    """Compares the squared MMD with that of random divisions of the pooled set in the same sizes.

    The kernel is a mixture of Gaussians about the median distance in a random part of the pooled
    set. It knows nothing of the division, and the given division is counted among the others, so
    the level is exact: under the hypothesis, p <= α has at most the probability α.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.
        generator: draws the divisions, on the CPU.
        permutations: how many (B); the least p-value is 1 / (B + 1).
        progress: told of tiles of the kernel matrix (done, total).

    Source: Gretton et al. 2012, JMLR 13, eq. 3; Phipson and Smyth 2010, "Permutation P-values
    should never be zero", Statistical Applications in Genetics and Molecular Biology 9(1), eq. 2.
    """
    check_vectors(real=real, generated=generated)
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    pooled = torch.cat([real, generated])
    some = torch.randperm(len(pooled), generator=generator)[:MOST_FOR_MEDIAN]
    kernel = GaussianMixture(median_distance(pooled[some.to(pooled.device)]))
    # Column 0 is the given division, the others are random.
    members = torch.zeros(len(pooled), 1 + permutations, dtype=torch.bool)
    members[: len(real), 0] = True
    for column in range(1, 1 + permutations):
        members[torch.randperm(len(pooled), generator=generator)[: len(real)], column] = True
    values = _mmds_of_divisions(pooled, members, kernel, progress)
    as_large = int((values[1:] >= values[0] - ROUNDING).sum())
    return PermutationTest(values[0].item(), (1 + as_large) / (1 + permutations), permutations)


def _measure(
    evidence: Evidence, name: str, kernel_of_bandwidth: Callable[[float], Kernel]
) -> Measurement:
    """The generated data have no part in the bandwidth: all models meet the same kernel."""
    real, generated = _vectors(evidence)
    key = "median distance of real examples"
    if key not in evidence.shared:
        evidence.shared[key] = median_distance(real)
    return measured_with_halves(
        real=real,
        generated=generated,
        kernel=kernel_of_bandwidth(evidence.shared[key]),
        drawn=generator(name, evidence.seed),
        progress=partial(evidence.progress, name),
    )


def _vectors(evidence: Evidence) -> tuple[Tensor, Tensor]:
    levels = evidence.spec.levels
    if levels is not None and isinstance(evidence.network, str):
        sets = pixels(evidence.real, levels), pixels(evidence.generated, levels)
    else:
        sets = compared_vectors(evidence)
    real, generated = (vectors.to(float64_device(evidence)) for vectors in sets)
    return real, generated


def _mmds_of_divisions(
    pooled: Tensor, members: Tensor, kernel: Kernel, progress: Progress
) -> Tensor:
    """[c] estimates between each of c subsets of one set and the rest of that set."""
    sums = sums_within(kernel, pooled, members, _ticker(progress, tiles_within(len(pooled))))
    inside = sums.subsets
    # Pairs that begin inside end inside or outside; all pairs begin inside or outside.
    parts = zip(sums.examples.split(TILE), members.split(TILE), strict=True)
    between = torch.stack([part @ table.to(part) for part, table in parts]).sum(dim=0) - inside
    outside = sums.examples.sum() - inside - 2 * between
    n = members.sum(dim=0).to(inside)
    m = len(pooled) - n
    return inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * between / (n * m)


def _ticker(progress: Progress, total: int) -> Tick:
    """Counts tiles, and tells of them."""
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    return tick
