"""The variational autoencoder, its observation model a mass on images and a density on points."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from benchmark.spec import DataSpec, Log
from zoo.layers import (
    Scaling,
    analyser,
    features,
    in_chunks,
    setting,
    standard_normal,
    synthesiser,
)
from zoo.observation import DiscretisedLogistic
from zoo.train import adam, descend, linear_decay, scaled_steps
from zoo.train import train as run_training

LEAST_LOG_SCALE = -7.0  # of scaled data: keeps a scale that training drives to zero finite


class GaussianEncoder(nn.Module):
    """q(z given x): a diagonal Gaussian whose parameters a network reads off scaled data."""

    def __init__(self, spec: DataSpec, latents: int, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            analyser(spec, width, nn.SiLU), nn.Linear(features(spec, width), 2 * latents)
        )

    def forward(self, scaled: Tensor) -> Independent:
        mean, log_scale = self.network(scaled).float().chunk(2, dim=1)
        return Independent(Normal(mean, log_scale.clamp(-10, 10).exp(), validate_args=False), 1)


class VAE(nn.Module):
    """z ~ N(0, I); x given z is a discretised logistic (images) or a Gaussian (points).

    Args:
        steps: of training, at budget 1.
        latents: dimension of z.
        width: units of a hidden layer, channels of the widest feature map.
        warm_up: fraction of training over which the KL term's weight grows from 0 to 1.
        initial_log_scale: of points, scaled: where the learned scale starts. From near 0 training
            stays where z is ignored; from much lower it fits the noise of single points.
        ema_decay: of the averaged weights that are kept.

    Source: Kingma and Welling 2014, arXiv:1312.6114, eq. 10; the KL term's warm-up is from
    Sonderby et al. 2016, arXiv:1602.02282, section 2.3.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        latents: int | None = None,
        width: int | None = None,
        learning_rate: float | None = None,
        warm_up: float | None = None,
        initial_log_scale: float = -1.0,
        ema_decay: float = 0.999,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.latents = setting(latents, spec, points=2, small=16, large=64)
        self.steps = setting(steps, spec, points=7_000, small=3_000, large=20_000)
        self.batch_size = setting(batch_size, spec, points=256, small=64, large=128)
        self.learning_rate = setting(learning_rate, spec, points=3e-3, small=1e-3, large=1e-3)
        self.warm_up = setting(warm_up, spec, points=0.2, small=0.0, large=0.0)
        self.ema_decay = ema_decay
        width = setting(width, spec, points=128, small=32, large=32)
        self.scaling = Scaling(spec)
        self.encoder = GaussianEncoder(spec, self.latents, width)
        maps = 2 if spec.is_image else 1
        self.decoder = synthesiser(spec, self.latents, width, nn.ReLU, maps)
        if not spec.is_image:
            self.log_scale = nn.Parameter(torch.full(spec.shape, initial_log_scale))

    def prior(self) -> Independent:
        return standard_normal(self.latents, self.scaling.scale)

    def encode(self, x: Tensor) -> Independent:
        return self.encoder(self.scaling(x))

    def decode(self, z: Tensor) -> Distribution:
        """p(x given z) for z [..., latents], with event shape `spec.shape`."""
        output = self.decoder(z.reshape(-1, self.latents)).float()
        if self.spec.levels is None:
            loc, log_scale = output, self.log_scale.expand_as(output)
        else:
            loc, log_scale = output.chunk(2, dim=1)
        loc = self.scaling.inverse(loc).reshape(*z.shape[:-1], *self.spec.shape)
        log_scale = log_scale.clamp(min=LEAST_LOG_SCALE) + self.scaling.scale.log()
        log_scale = log_scale.reshape(loc.shape)
        if self.spec.levels is None:
            noise: Distribution = Normal(loc, log_scale.exp(), validate_args=False)
        else:
            noise = DiscretisedLogistic(loc, log_scale, self.spec.levels, validate_args=False)
        return Independent(noise, len(self.spec.shape))

    def sample(self, n: int) -> Tensor:
        """Draws [n, *shape], the observation noise included."""
        prior = self.prior()
        return in_chunks(lambda size: self.decode(prior.sample((size,))).sample(), n)

    def log_prob_bound(self, x: Tensor) -> Tensor:
        """The evidence lower bound with one draw of z and the exact KL term, [n] nats."""
        reconstruction, divergence = self.terms(x)
        return reconstruction - divergence

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The log p(x given z) of one z ~ q(z given x), and KL(q | p): [n] nats each."""
        posterior = self.encode(x)
        reconstruction = self.decode(posterior.rsample()).log_prob(x)
        return reconstruction, kl_divergence(posterior, self.prior())

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        steps = scaled_steps(self.steps, budget)
        self.scaling.fit(train)
        optimiser = adam(self.parameters(), self.learning_rate)
        scheduler = linear_decay(optimiser, steps, start=0.5)

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            reconstruction, divergence = (term.mean() for term in self.terms(draw()))
            # The scheduler counts the steps, and is restored when an interrupted run goes on.
            weight = self.kl_weight(scheduler.last_epoch, steps)
            descend(optimiser, weight * divergence - reconstruction)
            return {
                "loss": divergence - reconstruction,
                "reconstruction": -reconstruction,
                "kl": divergence,
            }

        held_out = validation[:1_000]
        run_training(
            self,
            update,
            optimisers=[optimiser],
            schedulers=[scheduler],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            log=log,
            sample=self.sample,
            ema_decay=self.ema_decay,
            validate=lambda model: -cast(VAE, model).log_prob_bound(held_out).mean().item(),
        )

    def kl_weight(self, done: int, steps: int) -> float:
        """Weight of the KL term when `done` of `steps` steps are behind."""
        return min(1.0, (done + 1) / max(1.0, self.warm_up * steps))
