"""Squared maximum mean discrepancy with a mixture of Gaussian kernels, unbiased."""

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.inputs import check_vectors, compared_vectors, float64_device, pixels
from benchmark.metrics.resampling import REPEATS, HalfSamples, draw_subsets
from benchmark.randomness import generator

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median distance; each the double of the one before
MOST_FOR_MEDIAN = 2_000
ROWS_AT_ONCE = 250


def measure(evidence: Evidence) -> Measurement:
    """The distance between features of images (pixels without a network) or between points."""
    device = float64_device(evidence)
    real, generated = (vectors.to(device) for vectors in _vectors(evidence))
    bandwidth = median_distance(real)
    sizes = {"real": len(real), "generated": len(generated)}
    halves = draw_subsets(
        sizes, share=0.5, generator=generator("mmd", evidence.seed), repeats=REPEATS
    )
    # Column 0 is the whole set, the others are halves: all share one pass over the kernel.
    members = {name: _empty_members(size, device) for name, size in sizes.items()}
    for column, half in enumerate(halves, start=1):
        for name, rows in half.items():
            members[name][rows.to(device), column] = 1.0
    values = _squared_mmd(real, generated, members["real"], members["generated"], bandwidth)
    shares = HalfSamples(tuple(values[1:].tolist()), share=0.5)
    return Measurement.with_halves(values[0].item(), shares, n=len(generated))


def squared_mmd(*, real: Tensor, generated: Tensor, bandwidth: float) -> float:
    """Unbiased estimate of E[k(x, x')] + E[k(y, y')] - 2 E[k(x, y)].

    The kernel k is the mean of five Gaussian kernels exp(-|x - y|² / (2 b²)), whose b are 1/4,
    1/2, 1, 2 and 4 times the bandwidth: no single one suits both coarse and fine differences.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.
        bandwidth: a length, `median_distance` of the real data.

    Returns:
        A number below 2, 0 in expectation for equal distributions and so at times negative.

    Source: Gretton et al. 2012, "A kernel two-sample test", JMLR 13, eq. 3.
    """
    check_vectors(real=real, generated=generated)
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}")
    all_r, all_g = (x.new_ones(len(x), 1, dtype=torch.float64) for x in (real, generated))
    return _squared_mmd(real, generated, all_r, all_g, bandwidth).item()


def median_distance(real: Tensor) -> float:
    """Median distance between two of at most 2,000 real examples, evenly spaced in their set.

    The generated data have no part in it: every model is measured with the same kernel.
    """
    check_vectors(real=real)
    rows = torch.linspace(0, len(real) - 1, min(len(real), MOST_FOR_MEDIAN)).long()
    median = torch.pdist(real.double()[rows.to(real.device)]).median().item()
    if median == 0:
        raise NotApplicable("most real examples coincide, so that no bandwidth follows from them")
    return median


def _vectors(evidence: Evidence) -> tuple[Tensor, Tensor]:
    levels = evidence.spec.levels
    if levels is not None and isinstance(evidence.network, str):
        return pixels(evidence.real, levels), pixels(evidence.generated, levels)
    return compared_vectors(evidence)


def _empty_members(size: int, device: torch.device) -> Tensor:
    members = torch.zeros(size, REPEATS + 1, dtype=torch.float64, device=device)
    members[:, 0] = 1.0
    return members


def _squared_mmd(
    real: Tensor, generated: Tensor, members_r: Tensor, members_g: Tensor, bandwidth: float
) -> Tensor:
    """[c] estimates, one for each of c pairs of subsets given by columns of 0 and 1."""
    # Distances come from inner products, which lose digits far from the origin.
    centre = real.double().mean(dim=0)
    x, y = real.double() - centre, generated.double() - centre
    n, m = members_r.sum(dim=0), members_g.sum(dim=0)
    # k(x, x) = 1, and the unbiased estimate leaves it out.
    within_r = (_kernel_sums(x, x, members_r, members_r, bandwidth) - n) / (n * (n - 1))
    within_g = (_kernel_sums(y, y, members_g, members_g, bandwidth) - m) / (m * (m - 1))
    between = _kernel_sums(x, y, members_r, members_g, bandwidth) / (n * m)
    return within_r + within_g - 2 * between


def _kernel_sums(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor, bandwidth: float) -> Tensor:
    """[c] sums of k(x_i, y_j) over the members i of `rows` and j of `columns`."""
    totals = rows.new_zeros(rows.shape[1])
    for part, members in zip(x.split(ROWS_AT_ONCE), rows.split(ROWS_AT_ONCE), strict=True):
        totals += (members * (_kernel(part, y, bandwidth) @ columns)).sum(dim=0)
    return totals


def _kernel(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * (x @ y.T)
    widest = bandwidth * SCALES[-1]
    term = squares.clamp_(min=0).mul_(-0.5 / widest**2).exp_()
    total = term.clone()
    for _ in SCALES[1:]:
        # Half the bandwidth is the fourth power of the kernel: one exponential serves all.
        term.square_().square_()
        total += term
    return total.div_(len(SCALES))
