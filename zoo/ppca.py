"""Probabilistic principal component analysis: the zoo's model with every answer in closed form."""

import math

import torch
from torch import Tensor
from torch.distributions import Independent, LowRankMultivariateNormal, MultivariateNormal, Normal

from benchmark.spec import DataSpec, Log
from zoo.fitted import Fitted


class PPCA(Fitted):
    """x = W z + mean + noise, with z ~ N(0, I) and noise ~ N(0, noise_var I), for points.

    Fitted by maximum likelihood in closed form; the number of latents is the one with the
    highest validation likelihood. Satisfies Density, LatentModel and Encoder at once, so an
    estimate of log p(x) can be checked against the exact value.

    Source: Tipping and Bishop, "Probabilistic Principal Component Analysis", 1999, eqs. 7-8.
    """

    weight: Tensor  # [dims, latents]
    mean: Tensor  # [dims]
    noise_var: Tensor  # []

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "weight", "mean", "noise_var")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        x = self._continuous(train)
        candidates = [2**k for k in range(int(math.log2(max(1, self.spec.dims - 1))) + 1)]
        fits = {latents: _maximum_likelihood(x, latents) for latents in candidates}
        held_out = self._continuous(validation)

        def validation_likelihood(latents: int) -> float:
            self.weight, self.mean, self.noise_var = fits[latents]
            return self._marginal().log_prob(held_out).mean().item()

        best = max(candidates, key=validation_likelihood)
        self.weight, self.mean, self.noise_var = fits[best]

    def prior(self) -> Independent:
        zeros = self.weight.new_zeros(self.weight.shape[1])
        return Independent(Normal(zeros, 1.0), 1)

    def decode(self, z: Tensor) -> Independent:
        return Independent(Normal(z @ self.weight.T + self.mean, self.noise_var.sqrt()), 1)

    def encode(self, x: Tensor) -> MultivariateNormal:
        """The exact posterior p(z given x), batched over x."""
        identity = torch.eye(self.weight.shape[1]).to(self.weight)
        precision = identity + self.weight.T @ self.weight / self.noise_var
        centred = (x.to(self.weight) - self.mean).T
        loc = torch.linalg.solve(precision, self.weight.T @ centred / self.noise_var).T
        return MultivariateNormal(loc, precision_matrix=precision)

    def sample(self, n: int) -> Tensor:
        return self._draw(n).float().view(n, *self.spec.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        return self._marginal().log_prob(self._continuous(x))

    def _draw(self, n: int) -> Tensor:
        return self.decode(self.prior().sample(torch.Size((n,)))).sample()

    def _marginal(self) -> LowRankMultivariateNormal:
        return LowRankMultivariateNormal(
            self.mean, self.weight, self.noise_var.expand_as(self.mean)
        )

    def _continuous(self, x: Tensor) -> Tensor:
        return x.flatten(1).double()


class DequantisedPPCA(Fitted):
    """PPCA of images with uniform noise added: a bound on the log-mass of the discrete image.

    E_u log p(x + u) <= log of the integral of p over the cell [x, x + 1), by Jensen.

    Source: Theis et al. 2016, arXiv:1511.01844, eq. 3, for the bound.
    """

    weight: Tensor  # [dims, latents]
    mean: Tensor  # [dims]
    noise_var: Tensor  # []

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, "weight", "mean", "noise_var")

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        inner = PPCA(DataSpec((self.spec.dims,)))
        inner.fit(_dequantised(train), _dequantised(validation), budget, log)
        self.weight, self.mean, self.noise_var = inner.weight, inner.mean, inner.noise_var

    def sample(self, n: int) -> Tensor:
        assert self.spec.levels is not None
        x = self._continuous_model()._draw(n).floor().clamp(0, self.spec.levels - 1)
        return x.view(n, *self.spec.shape).to(torch.uint8)

    def log_prob_bound(self, x: Tensor) -> Tensor:
        return self._continuous_model().log_prob(_dequantised(x))

    def _continuous_model(self) -> PPCA:
        inner = PPCA(DataSpec((self.spec.dims,)))
        inner.weight, inner.mean, inner.noise_var = self.weight, self.mean, self.noise_var
        return inner


def ppca(spec: DataSpec) -> PPCA | DequantisedPPCA:
    """Exact on points; on images a bound, through dequantisation."""
    return DequantisedPPCA(spec) if spec.is_image else PPCA(spec)


def _dequantised(x: Tensor) -> Tensor:
    x = x.flatten(1).double()
    return x + torch.rand_like(x)


def _maximum_likelihood(x: Tensor, latents: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weight [dims, latents], mean [dims] and noise variance [] for data [n, dims]."""
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))  # ascending
    noise_var = values[:-latents].mean().clamp(min=1e-6 * values[-1].item())
    scale = (values[-latents:] - noise_var).clamp(min=0).sqrt()
    return vectors[:, -latents:] * scale, x.mean(dim=0), noise_var
