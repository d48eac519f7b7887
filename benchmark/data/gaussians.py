"""Mixtures of Gaussians with everything known: density, entropy, modes, sampler."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.base import Assigned

OUTSIDE = math.exp(-4.5)  # share of a Gaussian in the plane beyond three standard deviations
SEPARATE = 12.0  # standard deviations between modes of which the overlap is below rounding


@dataclass(frozen=True)
class Mixture:
    """sum_k weights_k N(means_k, basis diag(scales^2) basis^T): Gaussians of one covariance.

    A sample is of high quality if it lies so near to a mode's centre as 98.89 % of true samples
    do: three standard deviations in the plane. Distances are those of Mahalanobis, or Euclidean
    where a rule that counts every direction in its own standard deviations would ask too much.

    Args:
        means: [k, d], float64.
        scales: [d] standard deviations along the columns of the basis, float64.
        weights: [k], positive and summing to one, float64.
        basis: [d, d], orthogonal, float64; None for the axes.
        euclidean: how distances from the centres are measured.

    Raises:
        ValueError: shapes do not fit, weights are no probabilities, or a mode is there twice.
    """

    means: Tensor
    scales: Tensor
    weights: Tensor
    basis: Tensor | None = None
    euclidean: bool = False

    def __post_init__(self) -> None:
        modes, dims = self.means.shape
        if self.scales.shape != (dims,) or not (self.scales > 0).all():
            raise ValueError(f"scales must be {dims} positive numbers, got {self.scales.tolist()}")
        total = self.weights.sum().item()
        if self.weights.shape != (modes,) or (self.weights <= 0).any() or abs(total - 1) > 1e-6:
            raise ValueError(
                f"weights must be {modes} positive numbers that sum to one, "
                f"got {self.weights.tolist()}"
            )
        if (torch.pdist(self._standardised(self.means)) < 1).any():
            raise ValueError("two modes lie within one sigma of each other: is one there twice?")

    @property
    def perfect(self) -> float:
        """Share of true samples that are of high quality: 0.9889 in any number of dimensions."""
        return 1 - OUTSIDE

    @cached_property
    def degrees(self) -> float:
        """Of freedom, of the chi-square that a true sample's squared distance has.

        One for each direction. Of a Euclidean distance the square is a weighted sum of such,
        and the chi-square the multiple of one that has its mean and its variance.

        Source: Satterthwaite 1946, Biometrics Bulletin 2(6), eq. 3.
        """
        if not self.euclidean:
            return float(len(self.scales))
        variances = self.scales.square()
        return (variances.sum().square() / variances.square().sum()).item()

    @cached_property
    def threshold(self) -> float:
        """Distance, in the coordinates of `whiten`, up to which a sample is of high quality."""
        from scipy.stats import chi2

        return math.sqrt(chi2.isf(OUTSIDE, self.degrees))

    def whiten(self, x: Tensor) -> Tensor:
        """Points [n, d] in coordinates [n, d], float64, in which distances are measured.

        Every mode has unit covariance there. Euclidean distances are divided by one length,
        after which their squares are `degrees` on average.
        """
        if not self.euclidean:
            return self._standardised(x)
        variances = self.scales.square()
        return x.double() / (variances.square().sum() / variances.sum()).sqrt().item()

    def assign(self, x: Tensor) -> Assigned:
        """The nearest mode of each point [n, d]; a point that is not finite is near none."""
        if x.ndim != 2 or x.shape[1] != self.means.shape[1]:
            raise ValueError(f"points must be [n, {self.means.shape[1]}], got {list(x.shape)}")
        nearest, mode = _distances(self.whiten(x), self.whiten(self.means.to(x.device))).min(dim=1)
        return Assigned(mode, nearest <= self.threshold)

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density, [n] nats for x [n, d]."""
        means, weights = self.means.to(x.device), self.weights.to(x.device)
        squares = _distances(self._standardised(x), self._standardised(means)).square()
        log_volume = self.scales.log().sum() + len(self.scales) * 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(-0.5 * squares + weights.log(), dim=1) - log_volume.item()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws [n, d], float64."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.points(component, noise)

    def points(self, component: Tensor, noise: Tensor) -> Tensor:
        """[n, d] float64 for the modes [n] and standard normal noise [n, d] that make them."""
        offset = self.scales * noise
        return self.means[component] + (offset if self.basis is None else offset @ self.basis.T)

    @cached_property
    def entropy(self) -> float:
        """-E[log p(x)] in nats.

        Of separate modes, that of the choice and of one mode; in the plane, of others too: by
        Gauss-Hermite quadrature around each mean.

        Raises:
            ValueError: modes overlap in more than two dimensions.
        """
        dims = len(self.scales)
        if len(self.means) == 1 or torch.pdist(self._standardised(self.means)).min() > SEPARATE:
            choice = -torch.xlogy(self.weights, self.weights).sum()
            normal = self.scales.log().sum() + 0.5 * dims * math.log(2 * math.pi * math.e)
            return (choice + normal).item()
        if dims != 2:
            raise ValueError(
                f"the entropy of overlapping modes is known in the plane, not in {dims} dims"
            )
        return self._planar_entropy()

    def _planar_entropy(self) -> float:
        nodes, node_weights = np.polynomial.hermite_e.hermegauss(40)
        noise = torch.cartesian_prod(torch.tensor(nodes), torch.tensor(nodes))
        node_weight = torch.tensor(np.outer(node_weights, node_weights).ravel() / (2 * math.pi))
        component = torch.zeros(len(noise), dtype=torch.int64)
        per_mode = torch.stack(
            [
                (self.log_prob(self.points(component + k, noise)) * node_weight).sum()
                for k in range(len(self.means))
            ]
        )
        return -(self.weights * per_mode).sum().item()

    def _standardised(self, x: Tensor) -> Tensor:
        """[n, d] in coordinates in which every mode has unit covariance."""
        along = x.double() if self.basis is None else x.double() @ self.basis.to(x.device)
        return along / self.scales.to(x.device)


def _distances(x: Tensor, means: Tensor) -> Tensor:
    """[n, k], from differences: from products of coordinates, near points would lie at zero."""
    return torch.cdist(x, means, compute_mode="donot_use_mm_for_euclid_dist")
