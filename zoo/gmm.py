"""Gaussian mixtures fitted by scikit-learn: a classical model with an exact likelihood."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.special import log_ndtr

from benchmark.spec import DataSpec, Log
from zoo.fitted import Fitted

MOST_EXAMPLES = 10_000  # fitted on the first of the (shuffled) training examples
MOST_HELD_OUT = 1_000  # chosen on the first of the validation examples
CELLS_AT_ONCE = 1_000_000  # bounds the memory of an image's masses


class PointGMM(Fitted):
    """A mixture with full covariances; the number of components is chosen on validation data.

    Only so many are tried as leave each component twice as many examples as there are dimensions:
    with fewer its covariance is singular or nearly so, which takes long and is never chosen.
    """

    log_weights: Tensor  # [k]
    means: Tensor  # [k, dims]
    covariances: Tensor  # [k, dims, dims]

    COMPONENTS = (1, 4, 8, 16, 25, 32, 50)
    EXAMPLES_A_DIMENSION = 2  # that a component needs at least

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "log_weights", "means", "covariances")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        x, held_out = _as_rows(train), _as_rows(validation)[:MOST_HELD_OUT]
        smallest = 1e-6 * float(x.var(axis=0).mean())
        needed = self.EXAMPLES_A_DIMENSION * self.spec.dims
        tried = [k for k in self.COMPONENTS if k == 1 or k * needed <= len(x)]
        fits = [_fit(x, k, "full", smallest) for k in tried]
        best = max(fits, key=lambda fit: fit.score(held_out))
        self.log_weights = torch.from_numpy(np.log(best.weights_)).to(train.device)
        self.means = torch.from_numpy(best.means_).to(train.device)
        self.covariances = torch.from_numpy(best.covariances_).to(train.device)

    def sample(self, n: int) -> Tensor:
        component = torch.multinomial(self.log_weights.exp(), n, replacement=True)
        x = torch.randn(n, self.spec.dims).to(self.means)
        # One component after the other: a factor for each example would fill the memory.
        for k, factor in enumerate(torch.linalg.cholesky(self.covariances)):
            own = component == k
            x[own] = self.means[k] + x[own] @ factor.mT
        return x.float().view(n, *self.spec.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        components = MultivariateNormal(self.means, self.covariances)
        per_component = components.log_prob(x.flatten(1).double()[:, None])  # [n, k]
        return torch.logsumexp(per_component + self.log_weights, dim=1)


class ImageGMM(Fitted):
    """A mixture with diagonal covariances over images, of which each level has an exact mass.

    A level x stands for the cell [x, x + 1) of the continuous axis, the first and the last one
    for everything below and above. Components and the smallest variance are chosen by the exact
    mass of validation images.
    """

    log_weights: Tensor  # [k]
    means: Tensor  # [k, dims]
    deviations: Tensor  # [k, dims]

    COMPONENTS = (10, 20, 40, 80)
    SMALLEST_DEVIATION = (0.02, 0.05, 0.1, 0.2)  # as a share of the grey scale

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "log_weights", "means", "deviations")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        assert self.spec.levels is not None
        x = _as_rows(train).astype(np.float32) + 0.5
        held_out = validation[:MOST_HELD_OUT]

        def score(candidate: ImageGMM) -> float:
            return candidate.log_prob(held_out).mean().item()

        smallest = [share * self.spec.levels for share in self.SMALLEST_DEVIATION]
        fits = [
            _fit(x, components, "diag", 1e-3 * self.spec.levels)
            for components in self.COMPONENTS
            if components * 4 <= len(x)
        ] or [_fit(x, 1, "diag", 1e-3 * self.spec.levels)]
        fit = max(fits, key=lambda fit: score(self._candidate(fit, smallest[1], train.device)))
        candidates = [self._candidate(fit, least, train.device) for least in smallest]
        self.load_state_dict(max(candidates, key=score).state_dict())

    def _candidate(self, fit: Any, smallest: float, device: torch.device) -> "ImageGMM":
        candidate = ImageGMM(self.spec)
        candidate.log_weights = torch.from_numpy(np.log(fit.weights_)).double().to(device)
        candidate.means = torch.from_numpy(fit.means_).double().to(device)
        deviations = torch.from_numpy(fit.covariances_).double().sqrt()
        candidate.deviations = deviations.clamp(min=smallest).to(device)
        return candidate

    def sample(self, n: int) -> Tensor:
        assert self.spec.levels is not None
        component = torch.multinomial(self.log_weights.exp(), n, replacement=True)
        x = torch.normal(self.means[component], self.deviations[component])
        x = x.floor().clamp(0, self.spec.levels - 1)
        return x.view(n, *self.spec.shape).to(torch.uint8)

    def log_prob(self, x: Tensor) -> Tensor:
        rows = max(1, CELLS_AT_ONCE // self.means.numel())
        parts = [self._log_prob(part) for part in x.flatten(1).double().split(rows)]
        return torch.cat(parts)

    def _log_prob(self, x: Tensor) -> Tensor:
        assert self.spec.levels is not None
        x = x[:, None]  # [n, 1, dims] against [k, dims]
        low = ((x - self.means) / self.deviations).where(x > 0, -math.inf)
        high = ((x + 1 - self.means) / self.deviations).where(x < self.spec.levels - 1, math.inf)
        return torch.logsumexp(log_normal_mass(low, high).sum(dim=2) + self.log_weights, dim=1)


def log_normal_mass(low: Tensor, high: Tensor) -> Tensor:
    """Log P(low < z < high) of a standard normal z, accurate in both tails."""
    # Mirrored to the lower tail, where the logarithm of the distribution function is accurate.
    mirrored = low + high > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    log_low, log_high = log_ndtr(low), log_ndtr(high)
    return log_high + torch.log1p(-(log_low - log_high).exp())


def gmm(spec: DataSpec) -> PointGMM | ImageGMM:
    """Full covariances on points, diagonal ones on images; exact on both."""
    return ImageGMM(spec) if spec.is_image else PointGMM(spec)


def _as_rows(x: Tensor) -> np.ndarray:
    return x[:MOST_EXAMPLES].flatten(1).double().cpu().numpy()


def _fit(x: np.ndarray, components: int, kind: str, smallest: float) -> Any:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    seed = int(torch.randint(2**31, (1,)))
    mixture = GaussianMixture(
        components, covariance_type=kind, reg_covar=smallest, random_state=seed, max_iter=100
    )
    with warnings.catch_warnings():
        # Which of the candidates is used is decided on validation data, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(x)
