"""Latent-variable models with known answers: linear ones in closed form, others by integration."""

import math
from itertools import product

import torch
from torch import nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MultivariateNormal,
    Normal,
)

from benchmark.spec import DataSpec

TINY = DataSpec((1, 2, 2), levels=3)
EVERY_IMAGE = torch.tensor(list(product(range(3), repeat=4))).view(81, *TINY.shape)


def standard_prior(latents):
    return Independent(Normal(torch.zeros(latents), 1.0, validate_args=False), 1)


class LinearGaussian:
    """x = W z + mean + noise with any normal prior; `exact` gives its evidence."""

    validate_args = False

    def __init__(self, dims, latents, noise_var=0.1, prior=None):
        self.spec = DataSpec((dims,))
        self.weight = torch.randn(dims, latents) / math.sqrt(max(1, latents))
        self.mean = torch.randn(dims)
        self.noise_var = noise_var
        self._prior = prior or standard_prior(latents)
        covariance = getattr(self._prior, "covariance_matrix", None)
        self.covariance = torch.diag(self._prior.variance) if covariance is None else covariance

    def prior(self):
        return self._prior

    def decode(self, z):
        loc = z @ self.weight.to(z).T + self.mean.to(z)
        scale = torch.full_like(loc, math.sqrt(self.noise_var))
        return Independent(Normal(loc, scale, validate_args=self.validate_args), 1)

    def sample(self, n):
        return self.decode(self.prior().sample((n,))).sample()

    def exact(self, x):
        """[n] log p(x), float64."""
        weight = self.weight.double()
        noise = self.noise_var * torch.eye(len(weight), dtype=torch.float64)
        mean = self.mean.double() + weight @ self._prior.mean.double()
        covariance = weight @ self.covariance.double() @ weight.T + noise
        return MultivariateNormal(mean, covariance).log_prob(x.double())

    def posterior(self, x, widening=1.0):
        """p(z given x), its covariance widened."""
        weight, centre = self.weight.double(), self._prior.mean.double()
        fisher = weight.T @ weight / self.noise_var
        covariance = torch.linalg.inv(torch.linalg.inv(self.covariance.double()) + fisher)
        centred = x.double() - self.mean.double() - weight @ centre
        mean = centre + centred @ weight @ covariance / self.noise_var
        factor = torch.linalg.cholesky(widening * covariance)
        return MultivariateNormal(mean.float(), scale_tril=factor.float())


class EncodedLinearGaussian(LinearGaussian):
    """The same with an approximate posterior: too wide, as one must err."""

    def encode(self, x):
        return self.posterior(x, widening=1.3)


class Network(nn.Module):
    """A fixed random network: its posteriors are curved and have more than one mode."""

    def __init__(self, outputs, latents=2, width=20, gain=2.0):
        super().__init__()
        self.latents = latents
        self.layers = nn.Sequential(
            nn.Linear(latents, width), nn.Tanh(), nn.Linear(width, outputs)
        )
        with torch.no_grad():
            for layer in (self.layers[0], self.layers[2]):
                layer.weight.normal_().mul_(gain / math.sqrt(layer.in_features))
                layer.bias.normal_().mul_(0.5)

    def prior(self):
        return standard_prior(self.latents)

    def sample(self, n):
        return self.decode(self.prior().sample((n,))).sample()


class BinaryImages(Network):
    """Bernoulli images of 8 x 8."""

    spec = DataSpec((1, 8, 8), levels=2)

    def __init__(self, **settings):
        super().__init__(64, **settings)

    def decode(self, z):
        logits = self.layers(z).view(*z.shape[:-1], 1, 8, 8)
        return Independent(Bernoulli(logits=logits, validate_args=False), 3)


class TinyImages(Network):
    """Images of 2 x 2 with 3 levels, any of whose probabilities can be had."""

    spec = TINY

    def __init__(self, **settings):
        super().__init__(12, **settings)

    def decode(self, z):
        logits = self.layers(z).view(*z.shape[:-1], 1, 2, 2, 3)
        return Independent(Categorical(logits=logits, validate_args=False), 3)


def integrated(model, x, reach=6.0, points=121):
    """[n] log p(x) of a model with two standard latents, by the trapezium rule in float64."""
    side = torch.linspace(-reach, reach, points, dtype=torch.float64)
    z = torch.cartesian_prod(side, side)
    log_prior = -0.5 * z.square().sum(dim=1) - math.log(2 * math.pi)
    log_area = 2 * math.log(2 * reach / (points - 1))
    parts = []
    with torch.no_grad():
        for some, prior in zip(z.float().split(20_000), log_prior.split(20_000), strict=True):
            decoded = model.decode(some)
            joint = [prior + decoded.log_prob(one).double() for one in x]
            parts.append(torch.stack(joint).logsumexp(dim=1))
    return torch.stack(parts).logsumexp(dim=0) + log_area


class CountsDecodes:
    """A model that counts how often it decodes."""

    def __init__(self, model):
        self.model, self.prior, self.calls = model, model.prior, 0

    def decode(self, z):
        self.calls += 1
        return self.model.decode(z)
