"""True values of distances between two normal populations, in closed form."""

from functools import cache

import torch
from torch import Tensor

from benchmark.calibration.populations import REAL, Gaussian
from benchmark.metrics.kernels import SCALES
from benchmark.randomness import generator

PAIRS = 1_000_000


def true_frechet(real: Gaussian, generated: Gaussian) -> float:
    """The squared 2-Wasserstein distance, by eigenvalues of the product of covariances.

    Source: Dowson and Landau 1982, eq. 4.
    """
    product = real.covariance @ generated.covariance
    cross = torch.linalg.eigvals(product).real.clamp(min=0).sqrt().sum()
    move = (real.mean - generated.mean).square().sum()
    trace = real.covariance.trace() + generated.covariance.trace()
    return (move + trace - 2 * cross).item()


def true_kid(real: Gaussian, generated: Gaussian) -> float:
    """The squared MMD with the kernel (x·y / d + 1)³, by the first three moments.

    E (x·y)^k is the inner product of the two k-th moment tensors, when x and y are independent.
    """

    def mean_kernel(first: Gaussian, second: Gaussian) -> Tensor:
        d = len(first.mean)
        powers = [(p * q).sum() / d**k for k, (p, q) in enumerate(_moments(first, second), 1)]
        return 1 + 3 * powers[0] + 3 * powers[1] + powers[2]

    within = mean_kernel(real, real) + mean_kernel(generated, generated)
    return (within - 2 * mean_kernel(real, generated)).item()


def true_mmd(real: Gaussian, generated: Gaussian) -> float:
    """The squared MMD with the mixture of Gaussian kernels around the real median distance."""
    bandwidth = _median_distance()

    def mean_kernel(first: Gaussian, second: Gaussian) -> Tensor:
        spread = first.covariance + second.covariance
        move = first.mean - second.mean
        return torch.stack(
            [_mean_of_gaussian(move, spread, bandwidth * scale) for scale in SCALES]
        ).mean()

    within = mean_kernel(real, real) + mean_kernel(generated, generated)
    return (within - 2 * mean_kernel(real, generated)).item()


def _moments(*populations: Gaussian) -> list[tuple[Tensor, ...]]:
    """The first, second and third moment tensors of each population."""
    found = []
    for population in populations:
        m, c = population.mean, population.covariance
        mixed = torch.einsum("i,jk->ijk", m, c)
        third = torch.einsum("i,j,k->ijk", m, m, m)
        third = third + mixed + mixed.transpose(0, 1) + mixed.transpose(0, 2)
        found.append((m, c + torch.outer(m, m), third))
    return list(zip(*found, strict=True))


def _mean_of_gaussian(move: Tensor, spread: Tensor, bandwidth: float) -> Tensor:
    """E exp(-|z|² / (2 b²)) for z ~ N(move, spread)."""
    wide = spread / bandwidth**2 + torch.eye(len(move)).double()
    exponent = move @ torch.linalg.solve(wide, move) / bandwidth**2
    return torch.exp(-exponent / 2) / wide.det().sqrt()


@cache
def _median_distance() -> float:
    """Of two draws of the real population, from so many pairs that its error is about 0.1 %."""
    drawn = generator("median distance")
    pairs = REAL.sample(PAIRS, drawn) - REAL.sample(PAIRS, drawn)
    return pairs.norm(dim=1).median().item()
