"""Latent variables in coordinates where the prior is a standard normal."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from benchmark.spec import LatentModel


@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor^T) for each of n data.

    Args:
        mean: [n, latents].
        factor: [n, latents, latents].
    """

    mean: Tensor
    factor: Tensor

    @classmethod
    def standard(cls, n: int, latents: int, device: torch.device) -> "Gaussian":
        identity = torch.eye(latents, device=device).expand(n, latents, latents)
        return cls(torch.zeros(n, latents, device=device), identity)

    @property
    def log_volume(self) -> Tensor:
        """[n] log |det factor|."""
        return torch.linalg.slogdet(self.factor)[1]


def gaussian_of(distribution: Distribution) -> Gaussian | None:
    """A normal distribution, batched over n data or not at all; None if it is not normal."""
    if isinstance(distribution, MultivariateNormal):
        mean, factor = distribution.loc, distribution.scale_tril
    elif isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal):
        mean = distribution.base_dist.loc
        factor = torch.diag_embed(distribution.base_dist.scale.expand_as(mean))
    else:
        return None
    mean, factor = mean.detach(), factor.detach()
    return Gaussian(mean, factor) if mean.ndim == 2 else Gaussian(mean[None], factor[None])


class StandardLatents:
    """A latent-variable model seen through latents that are N(0, I) under its prior.

    A normal prior is shifted and scaled; any other of independent coordinates is reached through
    its inverse distribution function.

    Raises:
        ValueError: there is no latent variable, or the prior is neither.
    """

    def __init__(self, model: LatentModel) -> None:
        prior = model.prior()
        if len(prior.event_shape) != 1 or prior.event_shape[0] < 1:
            raise ValueError(
                f"prior() must have event shape [latents] with at least one latent, "
                f"got {list(prior.event_shape)}"
            )
        self.model = model
        self.latents = prior.event_shape[0]
        drawn = prior.sample()
        self.device, self.dtype = drawn.device, drawn.dtype
        self.gaussian = gaussian_of(prior)
        self.marginals = prior.base_dist if isinstance(prior, Independent) else None
        if self.gaussian is None and not _has_quantiles(self.marginals):
            raise ValueError(
                f"prior() is {type(prior).__name__}: it must be normal, or Independent with an "
                "inverse distribution function (icdf)"
            )

    def decode(self, u: Tensor) -> Distribution:
        """p(x given z) at the z that belongs to u [..., latents]."""
        return self.model.decode(self.z(u))

    def z(self, u: Tensor) -> Tensor:
        """The model's own latents at u, in the model's own precision."""
        u = u.to(self.dtype)
        if self.gaussian is None:
            assert self.marginals is not None
            share = torch.special.ndtr(u).clamp(1e-7, 1 - 1e-7)
            return self.marginals.icdf(share)
        if self._is_standard:
            return u
        return self.gaussian.mean[0] + u @ self.gaussian.factor[0].T

    def standardised(self, distribution: Distribution) -> Gaussian | None:
        """A normal distribution over the model's z, as one over u; None if there is none."""
        own = gaussian_of(distribution)
        if own is None or self.gaussian is None:
            return None
        mean = torch.linalg.solve(self.gaussian.factor, (own.mean - self.gaussian.mean)[..., None])
        factor = torch.linalg.solve(self.gaussian.factor, own.factor)
        return Gaussian(mean[..., 0].float(), factor.float())

    @property
    def _is_standard(self) -> bool:
        """Remembered, for asking a GPU each time would make it wait."""
        if not hasattr(self, "_standard"):
            assert self.gaussian is not None
            mean, factor = self.gaussian.mean, self.gaussian.factor
            identity = torch.eye(self.latents).to(factor)
            self._standard = bool((mean == 0).all() and (factor == identity).all())
        return self._standard


def _has_quantiles(marginals: Distribution | None) -> bool:
    if marginals is None:
        return False
    try:
        marginals.icdf(torch.full_like(marginals.sample(), 0.5))
    except NotImplementedError:
        return False
    return True
