"""The variational autoencoder, its observation model a mass on images and a density on points."""

from collections.abc import Callable, Mapping, Sequence

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
from zoo.together import Together
from zoo.train import adam, descend, linear_decay, scaled_steps, train_together

LEAST_LOG_SCALE = -7.0  # of scaled data: keeps a scale that training drives to zero finite


class GaussianEncoder(nn.Module):
    """q(z given x): a diagonal Gaussian whose parameters a network reads off scaled data."""

    def __init__(self, spec: DataSpec, latents: int, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            analyser(spec, width, nn.SiLU), nn.Linear(features(spec, width), 2 * latents)
        )

    def forward(self, scaled: Tensor) -> Independent:
        return diagonal_gaussian(self.network(scaled))


def diagonal_gaussian(output: Tensor) -> Independent:
    """The distribution of latents [..., d] that an encoder's output [..., 2 d] means."""
    mean, log_scale = output.float().chunk(2, dim=-1)
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
        output = self.decoder(z.reshape(-1, self.latents))
        output = output.reshape(*z.shape[:-1], *output.shape[1:])
        return self._observed(output, None if self.spec.is_image else self.log_scale)

    def _observed(self, output: Tensor, log_scale: Tensor | None) -> Distribution:
        """The distribution that the decoder's output [..., maps * C, H, W] or [..., d] means.

        Args:
            output: one number for each coordinate, or two for each of an image.
            log_scale: of points, scaled, broadcastable to them.
        """
        output = output.float()
        if log_scale is None:
            loc, log_scale = output.chunk(2, dim=-3)
        else:
            loc, log_scale = output, log_scale.expand_as(output)
        log_scale = log_scale.clamp(min=LEAST_LOG_SCALE) + self.scaling.scale.log()
        loc = self.scaling.inverse(loc)
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
        self.fit_together([self], train, validation, budget, [log])

    def fit_together(
        self,
        models: Sequence["VAE"],
        train: Tensor,
        validation: Tensor,
        budget: float,
        logs: Sequence[Log],
    ) -> None:
        steps = scaled_steps(self.steps, budget)
        for model in models:
            model.scaling.fit(train)
        copies = Copies(models)
        optimiser = adam(copies.parameters(), self.learning_rate)
        scheduler = linear_decay(optimiser, steps, start=0.5)
        held_out = validation[:1_000].expand(len(models), *validation[:1_000].shape)

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            reconstruction, divergence = copies.terms(draw())
            # The scheduler counts the steps, and is restored when an interrupted run goes on.
            weight = self.kl_weight(scheduler.last_epoch, steps)
            descend(optimiser, (weight * divergence - reconstruction).sum())
            return {
                "loss": divergence - reconstruction,
                "reconstruction": -reconstruction,
                "kl": divergence,
            }

        def validate() -> Tensor:
            reconstruction, divergence = copies.terms(held_out)
            return divergence - reconstruction

        def sample(n: int) -> Tensor:
            noise = copies.decode(torch.randn(len(models), n, self.latents, device=train.device))
            # A copy that diverged gives NaN here, where `sample` of a Gaussian would refuse.
            return noise.rsample() if noise.has_rsample else noise.sample()

        train_together(
            copies,
            update,
            logs=logs,
            optimisers=[optimiser],
            schedulers=[scheduler],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            sample=sample,
            ema_decay=self.ema_decay,
            validate=validate,
        )
        copies.write_back()
        for model in models:
            model.eval()

    def kl_weight(self, done: int, steps: int) -> float:
        """Weight of the KL term when `done` of `steps` steps are behind."""
        return min(1.0, (done + 1) / max(1.0, self.warm_up * steps))


class Copies(nn.Module):
    """S autoencoders in training as one: x [S, n, *shape], z [S, n, latents].

    Args:
        models: equal but for the values of their parameters.
    """

    def __init__(self, models: Sequence[VAE]) -> None:
        super().__init__()
        self._models = tuple(models)  # a tuple is no submodule: their own weights are not ours
        self.encoders = Together([model.encoder.network for model in models])
        self.decoders = Together([model.decoder for model in models])
        first = models[0]
        self.log_scales = None
        if not first.spec.is_image:
            self.log_scales = nn.Parameter(
                torch.stack([model.log_scale.detach() for model in models])
            )

    def decode(self, z: Tensor) -> Distribution:
        scales = None if self.log_scales is None else self.log_scales.unsqueeze(1)
        return self._models[0]._observed(self.decoders(z), scales)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means over each copy's batch of what `VAE.terms` gives, [S] nats each."""
        model = self._models[0]
        posterior = diagonal_gaussian(self.encoders(model.scaling(x)))
        reconstruction = self.decode(posterior.rsample()).log_prob(x)
        divergence = kl_divergence(posterior, model.prior())
        return reconstruction.mean(dim=1), divergence.mean(dim=1)

    @torch.no_grad()
    def write_back(self) -> None:
        """Copies the weights into the models that this was made from."""
        self.encoders.write_back()
        self.decoders.write_back()
        if self.log_scales is not None:
            for model, value in zip(self._models, self.log_scales, strict=True):
                model.log_scale.copy_(value)
