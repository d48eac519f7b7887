"""Fréchet distance between two sets of features (the FID, where these are Inception's)."""

from dataclasses import replace
from itertools import count, pairwise

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, float64_device
from benchmark.metrics.pairwise import mean_of
from benchmark.metrics.resampling import REPEATS, half_samples
from benchmark.randomness import generator

LARGEST_HALF = 5_000  # examples; keeps the error bar of 50,000 samples affordable
ROWS_AT_ONCE = 4_000
STRIPS = 12  # of a symmetric product, of which only the upper half is computed
TOLERANCE = 1e-7  # of the distance, on a bound that errors stay far below


def measure(evidence: Evidence) -> Measurement:
    """The distance between the features of real and of generated images."""
    device = float64_device(evidence)
    real = evidence.real_features.features.to(device)
    generated = evidence.generated_features.features.to(device)
    value = frechet_distance(real=real, generated=generated)
    steps = count()

    def distance(*, real: Tensor, generated: Tensor) -> float:
        evidence.progress("error of the Fréchet distance", next(steps), REPEATS)
        return frechet_distance(real=real, generated=generated)

    halves = half_samples(
        distance,
        real=real,
        generated=generated,
        generator=generator("fid", evidence.seed),
        most=LARGEST_HALF,
    )
    measured = Measurement.with_halves(value, halves, n=len(generated), lowest=0.0)
    remark = few_samples(len(generated), dims=generated.shape[1])
    return (
        replace(measured, details={**measured.details, "remark": remark}) if remark else measured
    )


def few_samples(n: int, *, dims: int) -> str | None:
    """What to say of a distance from n samples in that many dimensions, if anything."""
    if n > dims:
        return None
    return (
        f"{n} samples in {dims} dimensions leave the covariance singular and the distance far too "
        f"high: draw more than {dims}, or compare only with values at the same count"
    )


def frechet_distance(*, real: Tensor, generated: Tensor) -> float:
    """Squared 2-Wasserstein distance between Gaussians fitted to two sets of features.

    With covariances A = R'R and B = S'S, the nonzero eigenvalues of A B are the squared singular
    values of R S', so Tr (A B)^½ is the sum of these (the nuclear norm). Centred features over
    sqrt(n - 1) are such a root; no covariance is inverted, so that the result is exact to rounding
    for singular ones too: for fewer examples than dimensions, constant sets, dead features. Where
    covariances are so well conditioned that it makes no difference, R and S come from them.

    Args:
        real: [n, d] features of real data, n >= 2.
        generated: [m, d] features of generated data, m >= 2.

    Returns:
        A non-negative number; 0 when both sets have the same mean and covariance. Biased
        upwards at finite n and m, so compare only values computed with the same n and m.

    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6; Dowson and Landau 1982.
    """
    check_vectors(real=real, generated=generated)
    if min(len(real), len(generated)) > real.shape[1]:
        distance = _from_covariances(real, generated)
        if distance is not None:
            return distance
    mean_r, mean_g = mean_of(real), mean_of(generated)
    root_r, root_g = _root(real, mean_r), _root(generated, mean_g)
    cross = torch.linalg.svdvals(root_r @ root_g.T).sum()
    spread = root_r.square().sum() + root_g.square().sum()
    distance = ((mean_r - mean_g).square().sum() + spread - 2 * cross).item()
    return max(distance, 0.0)  # rounding can leave -1e-12 for equal sets


def _from_covariances(real: Tensor, generated: Tensor) -> float | None:
    """The distance through eigenvalues; None where these might lose more than the tolerance.

    An error e in an eigenvalue m is one of e / (2 sqrt(m)) in its root, and e is rounding in
    either covariance times the norm of the other.
    """
    mean_r, mean_g = mean_of(real), mean_of(generated)
    cov_r, cov_g = _covariance(real, mean_r), _covariance(generated, mean_g)
    lower, failed = torch.linalg.cholesky_ex(cov_r)
    if failed:
        return None
    values = torch.linalg.eigvalsh(_around(cov_g, lower).T)
    unit = torch.finfo(values.dtype).eps * len(values) ** 0.5
    error = unit * torch.linalg.matrix_norm(cov_r) * torch.linalg.matrix_norm(cov_g)
    roots = values.clamp(min=0).sqrt()
    spread = cov_r.trace() + cov_g.trace()
    distance = (mean_r - mean_g).square().sum() + spread - 2 * roots.sum()
    lost = (error / roots.maximum(error.sqrt())).sum()
    return distance.item() if lost < TOLERANCE * distance else None


def _covariance(features: Tensor, mean: Tensor) -> Tensor:
    """[d, d] in float64; the features are read block by block."""
    total = mean.new_zeros(len(mean), len(mean))
    for part in features.split(ROWS_AT_ONCE):
        centred = part - mean
        for at, end in _strips(len(mean)):
            total[at:end, at:].addmm_(centred[:, at:end].T, centred[:, at:])
    upper = total.triu_().div_(len(features) - 1)
    return upper + upper.triu(1).T


def _around(symmetric: Tensor, lower: Tensor) -> Tensor:
    """The upper half of L'AL; products with the zeros of the triangular L [d, d] are left out."""
    product = torch.zeros_like(symmetric)
    for at, end in _strips(len(symmetric)):
        left = lower[at:, at:end].T @ symmetric[at:]
        for first, last in _strips(len(symmetric)):
            if first >= at:
                product[at:end, first:last] = left[:, first:] @ lower[first:, first:last]
    return product


def _strips(dims: int) -> list[tuple[int, int]]:
    """Where each of a few nearly equal parts of 0..dims begins and ends."""
    marks = [dims * strip // STRIPS for strip in range(STRIPS + 1)]
    return [(at, end) for at, end in pairwise(marks) if end > at]


def _root(features: Tensor, mean: Tensor) -> Tensor:
    """Some R [min(n, d), d] with R'R the covariance, in float64."""
    scale = (len(features) - 1) ** 0.5
    dims = features.shape[1]
    if len(features) <= dims:
        return (features - mean) / scale
    # X = QR with orthonormal columns of Q, which leave singular values as they are.
    root = mean.new_zeros(0, dims)
    for part in features.split(max(ROWS_AT_ONCE, 8 * dims)):
        root = torch.linalg.qr(torch.cat([root, (part - mean) / scale]), mode="r").R
    return root
