"""Mixtures of Gaussians in the plane, with everything known: density, entropy, modes, sampler."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.spec import DataSpec

TRAIN, VALIDATION, TEST = 50_000, 10_000, 10_000


@dataclass(frozen=True)
class Mixture:
    """sum_k weights_k N(means_k, sigma^2 I).

    Args:
        means: [k, d], float64.
        sigma: standard deviation of every component in every direction.
        weights: [k], summing to one, float64.
    """

    means: Tensor
    sigma: float
    weights: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density, [n] nats for x [n, d]."""
        dims = self.means.shape[1]
        squares = (x.double()[:, None] - self.means).square().sum(dim=2) / self.sigma**2
        log_normal = -0.5 * squares - dims * math.log(self.sigma * math.sqrt(2 * math.pi))
        return torch.logsumexp(log_normal + self.weights.log(), dim=1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws [n, d], float64."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[component] + self.sigma * noise

    @cached_property
    def entropy(self) -> float:
        """-E[log p(x)] in nats, by Gauss-Hermite quadrature around each mean (planes only)."""
        nodes, node_weights = np.polynomial.hermite_e.hermegauss(40)
        grid = torch.cartesian_prod(torch.tensor(nodes), torch.tensor(nodes)) * self.sigma
        node_weight = torch.tensor(np.outer(node_weights, node_weights).ravel() / (2 * math.pi))
        per_mode = torch.stack([(self.log_prob(m + grid) * node_weight).sum() for m in self.means])
        return -(self.weights * per_mode).sum().item()


def ring() -> Mixture:
    """8 Gaussians on the unit circle, sigma 0.01 (VEEGAN, PacGAN)."""
    angles = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)  # the end is the start
    return _uniform(torch.stack([angles.cos(), angles.sin()], dim=1), sigma=0.01)


def grid() -> Mixture:
    """25 Gaussians at {-4, -2, 0, 2, 4}^2, sigma 0.05 (VEEGAN, PacGAN)."""
    side = torch.arange(-4, 5, 2, dtype=torch.float64)
    return _uniform(torch.cartesian_prod(side, side), sigma=0.05)


def load_ring(root: Path | None = None) -> DataSet:
    return _dataset("ring", ring())


def load_grid(root: Path | None = None) -> DataSet:
    return _dataset("grid", grid())


def _uniform(means: Tensor, sigma: float) -> Mixture:
    weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
    return Mixture(means, sigma, weights)


def _dataset(name: str, mixture: Mixture) -> DataSet:
    # numpy's generators promise the same stream in every version; torch's do not.
    rng = np.random.Generator(np.random.PCG64(seed=20170101))
    total = TRAIN + VALIDATION + TEST
    component = torch.from_numpy(rng.choice(len(mixture.means), size=total, p=mixture.weights))
    noise = torch.from_numpy(rng.standard_normal((total, 2)))
    points = (mixture.means[component] + mixture.sigma * noise).float()
    train, validation, test = points.split([TRAIN, VALIDATION, TEST])
    return DataSet(name, DataSpec((2,)), train, validation, test, mixture=mixture)
