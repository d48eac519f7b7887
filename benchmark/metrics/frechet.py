"""Fréchet distance between two sets of features (the FID, where these are Inception's)."""

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, float64_device
from benchmark.metrics.resampling import half_samples
from benchmark.randomness import generator

LARGEST_HALF = 5_000  # examples; keeps the error bar of 50,000 samples affordable


def measure(evidence: Evidence) -> Measurement:
    """The distance between the features of real and of generated images."""
    device = float64_device(evidence)
    real = evidence.real_features.features.to(device)
    generated = evidence.generated_features.features.to(device)
    value = frechet_distance(real=real, generated=generated)
    halves = half_samples(
        frechet_distance,
        real=real,
        generated=generated,
        generator=generator("fid", evidence.seed),
        most=LARGEST_HALF,
    )
    return Measurement.with_halves(value, halves, n=len(generated), lowest=0.0)


def frechet_distance(*, real: Tensor, generated: Tensor) -> float:
    """Squared 2-Wasserstein distance between Gaussians fitted to two sets of features.

    The covariances are A = X'X and B = Y'Y with X, Y the centred features over sqrt(n - 1). The
    nonzero eigenvalues of A B are the squared singular values of X Y', so Tr (A B)^½ is the sum
    of the singular values of X Y' (its nuclear norm). No covariance is formed or inverted, so
    that the result is exact to rounding for singular ones too: for fewer examples than dimensions,
    for constant sets, for dead features.

    Args:
        real: [n, d] features of real data, n >= 2.
        generated: [m, d] features of generated data, m >= 2.

    Returns:
        A non-negative number; 0 when both sets have the same mean and covariance. Biased
        upwards at finite n and m, so compare only values computed with the same n and m.

    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6; Dowson and Landau 1982.
    """
    check_vectors(real=real, generated=generated)
    mean_r, root_r = _mean_and_root(real)
    mean_g, root_g = _mean_and_root(generated)
    cross = torch.linalg.svdvals(root_r @ root_g.T).sum()
    spread = root_r.square().sum() + root_g.square().sum()
    distance = (mean_r - mean_g).square().sum() + spread - 2 * cross
    return max(distance.item(), 0.0)  # rounding can leave -1e-12 for equal sets


def _mean_and_root(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean [d] and some R [min(n, d), d] with R'R the covariance, both in float64."""
    features = features.double()
    mean = features.mean(dim=0)
    root = (features - mean) / (len(features) - 1) ** 0.5
    if len(features) > features.shape[1]:
        # X = QR with orthonormal columns of Q, which leave singular values as they are.
        root = torch.linalg.qr(root, mode="r").R
    return mean, root
