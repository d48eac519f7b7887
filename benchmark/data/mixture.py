"""The mixtures that are data sets: where a method that drops modes is seen to do so."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.data.gaussians import Mixture
from benchmark.spec import DataSpec

PLANAR = (50_000, 10_000, 10_000)  # examples of train, validation, test
HIGH = (10_000, 2_500, 2_500)
ROWS_AT_ONCE = 64  # in 1,200 dimensions they stay in a core's cache
RARE_WEIGHTS = (0.30, 0.04, 0.16, 0.09, 0.22, 0.01, 0.12, 0.06)


def ring() -> Mixture:
    """8 Gaussians on the unit circle, sigma 0.01 (VEEGAN, PacGAN)."""
    return Mixture(_circle(8), _same(0.01, 2), _same(1 / 8, 8))


def ring_rare() -> Mixture:
    """The ring with unequal weights, from 30 % to 1 %; common and rare modes are neighbours."""
    return Mixture(_circle(8), _same(0.01, 2), torch.tensor(RARE_WEIGHTS, dtype=torch.float64))


def grid() -> Mixture:
    """25 Gaussians at {-4, -2, 0, 2, 4}^2, sigma 0.05 (VEEGAN, PacGAN)."""
    side = torch.arange(-4, 5, 2, dtype=torch.float64)
    return Mixture(torch.cartesian_prod(side, side), _same(0.05, 2), _same(1 / 25, 25))


def lines() -> Mixture:
    """4 parallel lines at distance 1: Gaussians of sigma 1 along them and 0.01 across.

    They lie diagonally, so that the product of the coordinates' marginals is far from them, and
    none goes through the origin, about which untrained generators lie.

    Source: after Fedus et al. 2018, arXiv:1710.08446, on parallel lines.
    """
    basis = mixing(2)
    across = torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64)
    scales = torch.tensor([0.01, 1.0], dtype=torch.float64)
    return Mixture(across[:, None] * basis[:, 0], scales, _same(1 / 4, 4), basis)


def manifold() -> Mixture:
    """One Gaussian on a plane in 10 dimensions: sigma 1 in the plane and 0.05 off it.

    Quality counts in Mahalanobis distances, since a sample's distance from the plane is what
    the set is there for: a Euclidean rule would hardly see the eight thin directions. They are
    few and thick enough for it: a model that is half as thick again as the data has two thirds
    of its samples counted, where with a hundred directions it would have none.

    Source: after Fedus et al. 2018, arXiv:1710.08446, on data of few dimensions in many.
    """
    scales = torch.tensor([1.0] * 2 + [0.05] * 8, dtype=torch.float64)
    return Mixture(torch.zeros(1, 10, dtype=torch.float64), scales, _same(1.0, 1), mixing(10))


def high() -> Mixture:
    """10 Gaussians of 700 dimensions in 1,200: sigma 1 in their subspace and 0.01 off it.

    Quality counts in Euclidean distances, up to 28.0. In 700 dimensions the centre of a mode is
    26.5 standard deviations from nearly all of its samples, so that none would pass VEEGAN's
    rule of 10; and by a Mahalanobis rule no model would, for 500 directions of almost no
    variance. The centres are drawn with sigma 2 in every coordinate, 98 apart: what lies between
    two modes is of low quality, too.

    Source: Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 4.1; the noise off the
    subspaces, which gives a density, and the distances of the centres are ours.
    """
    dims = 1_200
    rng = np.random.Generator(np.random.PCG64(seed=700))
    means = torch.from_numpy(2 * rng.standard_normal((10, dims)))
    scales = torch.tensor([1.0] * 700 + [0.01] * 500, dtype=torch.float64)
    return Mixture(means, scales, _same(1 / 10, 10), mixing(dims), euclidean=True)


def load_ring(root: Path | None = None) -> DataSet:
    return _dataset("ring", ring(), PLANAR)


def load_ring_rare(root: Path | None = None) -> DataSet:
    return _dataset("ring_rare", ring_rare(), PLANAR)


def load_grid(root: Path | None = None) -> DataSet:
    return _dataset("grid", grid(), PLANAR)


def load_lines(root: Path | None = None) -> DataSet:
    return _dataset("lines", lines(), PLANAR)


def load_manifold(root: Path | None = None) -> DataSet:
    return _dataset("manifold", manifold(), PLANAR)


def load_high(root: Path | None = None) -> DataSet:
    return _dataset("high", high(), HIGH)


def mixing(dims: int) -> Tensor:
    """An orthogonal basis [d, d], float64, of which no subspace lies along the axes."""
    return torch.from_numpy(_mixed(np.eye(dims))).T


def _mixed(x: np.ndarray) -> np.ndarray:
    """Rows [n, d] turned, for an even d: by sums and differences, which round alike everywhere."""
    for _ in range(math.ceil(math.log2(x.shape[1]))):
        even, odd = x[:, 0::2], x[:, 1::2]
        x = np.concatenate([even + odd, even - odd], axis=1) * math.sqrt(0.5)
    return x


def _circle(modes: int) -> Tensor:
    turns = torch.arange(modes, dtype=torch.float64)  # the end of the circle is its start
    angles = turns * (2 * math.pi / modes)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def _same(value: float, length: int) -> Tensor:
    return torch.full((length,), value, dtype=torch.float64)


def _points(mixture: Mixture, component: Tensor, rng: np.random.Generator) -> Tensor:
    """[n, d] float32 for modes [n]; `Mixture.points`, but to the same bit on every machine."""
    offset = mixture.scales.numpy() * rng.standard_normal((len(component), len(mixture.scales)))
    turned = offset if mixture.basis is None else _mixed(offset)
    return (mixture.means[component] + torch.from_numpy(turned)).float()


def _dataset(name: str, mixture: Mixture, sizes: tuple[int, int, int]) -> DataSet:
    # numpy's generators promise the same stream in every version; torch's do not.
    rng = np.random.Generator(np.random.PCG64(seed=20170101))
    component = torch.from_numpy(rng.choice(len(mixture.means), sum(sizes), p=mixture.weights))
    points = torch.cat([_points(mixture, few, rng) for few in component.split(ROWS_AT_ONCE)])
    train, validation, test = points.split(sizes)
    spec = DataSpec(tuple(mixture.scales.shape))
    return DataSet(name, spec, train, validation, test, mixture=mixture)
