"""Fréchet distance between two sets of features (the FID, where these are Inception's)."""

from itertools import count

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.linalg.blas import dsyr, dsyrk
from scipy.linalg.lapack import dpotrf, dsygst
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, float64_device
from benchmark.metrics.pairwise import mean_of
from benchmark.metrics.resampling import REPEATS
from benchmark.randomness import generator
from benchmark.threads import torch_on_one_thread

LARGEST_HALF = 5_000  # examples; keeps the error bar of 50,000 samples affordable
ROWS_AT_ONCE = 2_000
TOLERANCE = 1e-6  # of the distance, on a bound that errors stay far below


def measure(evidence: Evidence) -> Measurement:
    """The distance between the features of real and of generated images."""
    device = float64_device(evidence)
    real = evidence.real_features.features.to(device)
    generated = evidence.generated_features.features.to(device)
    remark = few_samples(len(generated), dims=generated.shape[1])
    steps = count()

    def distance(*, real: Tensor, generated: Tensor) -> float:
        evidence.progress("Fréchet distance and its error", next(steps), REPEATS + 1)
        return frechet_distance(real=real, generated=generated)

    return Measurement.of_statistic(
        distance,
        drawn=generator("fid", evidence.seed),
        n=len(generated),
        most=LARGEST_HALF,
        lowest=0.0,
        details={"remark": remark} if remark else {},
        real=real,
        generated=generated,
    )


def few_samples(n: int, *, dims: int) -> str | None:
    """What to say of a distance from n samples in that many dimensions, if anything."""
    if n > dims:
        return None
    return (
        f"{n} samples in {dims} dimensions leave the covariance singular and the distance far too "
        f"high: draw more than {dims}, or read KID, which is unbiased"
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
    spread = root_r.square().sum() + root_g.square().sum()
    moved = (mean_r - mean_g).square().sum()
    with torch_on_one_thread():
        product = root_r.cpu().numpy() @ root_g.cpu().numpy().T
        cross = np.linalg.svd(product, compute_uv=False).sum()
    distance = float((moved + spread).item() - 2 * cross)
    return max(distance, 0.0)  # rounding can leave -1e-12 for equal sets


def _from_covariances(real: Tensor, generated: Tensor) -> float | None:
    """The distance through eigenvalues; None where these might lose more than the tolerance.

    An error e in an eigenvalue m is one of e / (2 sqrt(m)) in its root, and e is rounding in
    either covariance times the norm of the other.
    """
    with torch_on_one_thread():
        mean_r, cov_r = _mean_and_covariance(real)
        mean_g, cov_g = _mean_and_covariance(generated)
        lower, failed = dpotrf(cov_r, lower=1)
        if failed:
            return None
        product, _ = dsygst(cov_g, lower, itype=2, lower=1)  # its root' B root
        values = eigh(product, eigvals_only=True, driver="evr", overwrite_a=True)
    unit = np.finfo(values.dtype).eps * len(values) ** 0.5
    error = unit * _norm(cov_r) * _norm(cov_g)
    roots = np.sqrt(values.clip(min=0))
    moved = np.square(mean_r - mean_g).sum()
    distance = moved + np.trace(cov_r) + np.trace(cov_g) - 2 * roots.sum()
    lost = (error / np.maximum(roots, max(error, np.finfo(error.dtype).tiny) ** 0.5)).sum()
    return float(distance) if lost < TOLERANCE * distance else None


def _mean_and_covariance(features: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """[d], and the lower triangle of [d, d] with zeros above, float64, read block by block.

    In one pass: moments about the first block's mean, which is near enough to the mean that
    nothing is lost when they are moved to it.
    """
    n, dims = features.shape
    about = features[:ROWS_AT_ONCE].double().mean(dim=0)
    centred = about.new_empty(ROWS_AT_ONCE, dims)
    total = np.zeros((dims, dims), order="F")
    moved = np.zeros(dims)
    for part in features.split(ROWS_AT_ONCE):
        rows = torch.sub(part, about, out=centred[: len(part)])
        moved += rows.sum(dim=0).cpu().numpy() / n
        total = _with_gram(total, rows)
    total = dsyr(-n, moved, lower=1, a=total, overwrite_a=1)
    return about.cpu().numpy() + moved, total / (n - 1)


def _with_gram(total: np.ndarray, rows: Tensor) -> np.ndarray:
    """The lower triangle of total + X'X; on a CPU `total` itself is written to."""
    if rows.is_cuda:
        return total + (rows.T @ rows).tril().cpu().numpy()
    values = rows.numpy().T  # in Fortran's order, as this routine reads it
    summed: np.ndarray = dsyrk(1.0, values, beta=1.0, c=total, lower=1, overwrite_c=1)
    return summed


def _norm(lower: np.ndarray) -> float:
    """Frobenius norm of a symmetric matrix that is given by its lower triangle."""
    squares = 2 * np.linalg.norm(lower) ** 2 - np.linalg.norm(lower.diagonal()) ** 2
    return float(np.sqrt(squares))


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
