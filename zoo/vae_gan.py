"""The VAE/GAN: an autoencoder whose reconstructions are judged in a discriminator's features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Independent, kl_divergence

from benchmark.spec import DataSpec, Log
from zoo.gan import LOSSES, discriminator_loss
from zoo.layers import PushForward, analyser, features, setting
from zoo.train import adam, linear_decay, scaled_steps
from zoo.train import train as run_training
from zoo.vae import GaussianEncoder


@dataclass(frozen=True)
class Terms:
    """The three terms of the loss (scalars, nats), and the decoder's form of the third."""

    prior: Tensor
    likelihood: Tensor
    adversarial: Tensor
    deception: Tensor


class VAEGAN(PushForward):
    """Encoder, decoder (the generator of a GAN) and discriminator, trained together.

    It claims no likelihood of x: its likelihood is one of discriminator features.

    Args:
        gamma: weight of the feature likelihood against deceiving the discriminator.
        loss: of the decoder, "non_saturating" or the source's "minimax".
        steps: of training, at budget 1.
        latents: dimension of z.
        width: units of a hidden layer, channels of the widest feature map.
        ema_decay: of the averaged weights that samples come from.

    Source: Larsen et al. 2016, arXiv:1512.09300, eqs. 8-12 and algorithm 1.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        gamma: float | None = None,
        loss: str = "non_saturating",
        steps: int | None = None,
        batch_size: int | None = None,
        latents: int | None = None,
        width: int | None = None,
        learning_rate: float | None = None,
        ema_decay: float = 0.999,
    ) -> None:
        if loss not in ("non_saturating", "minimax"):
            raise ValueError(f"loss must be 'non_saturating' or 'minimax', got {loss!r}")
        latents = setting(latents, spec, points=4, small=16, large=64)
        width = setting(width, spec, points=128, small=32, large=32)
        super().__init__(spec, latents, width)
        self.loss = loss
        self.gamma = setting(gamma, spec, points=1.0, small=0.1, large=0.1)
        self.steps = setting(steps, spec, points=4_000, small=1_500, large=20_000)
        self.batch_size = setting(batch_size, spec, points=256, small=64, large=64)
        self.learning_rate = setting(learning_rate, spec, points=1e-3, small=5e-4, large=3e-4)
        self.ema_decay = ema_decay
        self.encoder = GaussianEncoder(spec, latents, width)
        self.layer = analyser(spec, width, lambda: nn.LeakyReLU(0.2))
        self.verdict = nn.Sequential(nn.Linear(features(spec, width), 1), nn.Flatten(0))

    @property
    def networks(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Encoder, decoder, discriminator."""
        return self.encoder, self.generator, nn.ModuleList([self.layer, self.verdict])

    def encode(self, x: Tensor) -> Independent:
        return self.encoder(self.scaling(x))

    def terms(self, x: Tensor) -> Terms:
        """The loss terms of a batch [n, *shape] of unscaled data."""
        posterior = self.encode(x)
        reconstructed = self.generator(posterior.rsample())
        drawn = self.generator(self.latent_batch(len(x)))
        real_layer = self.layer(self.scaling.dequantised(x))
        fake_layer = self.layer(torch.cat([reconstructed, drawn]))
        verdicts = self.verdict(fake_layer).chunk(2)
        distance = (real_layer - fake_layer[: len(x)]).square().flatten(1).sum(dim=1)
        deceive = LOSSES[self.loss].generator
        return Terms(
            prior=kl_divergence(posterior, self.prior()).mean(),
            likelihood=distance.mean() / 2,
            adversarial=discriminator_loss(self.verdict(real_layer), *verdicts),
            deception=torch.stack([deceive(logits) for logits in verdicts]).sum(),
        )

    def losses(self, terms: Terms) -> tuple[Tensor, Tensor, Tensor]:
        """What encoder, decoder and discriminator descend on (algorithm 1)."""
        return (
            terms.prior + terms.likelihood,
            self.gamma * terms.likelihood + terms.deception,
            terms.adversarial,
        )

    def gradients(self, x: Tensor) -> Terms:
        """Gives each network the gradient of its own loss and of no other."""
        terms = self.terms(x)
        for network, loss in zip(self.networks, self.losses(terms), strict=True):
            parameters = list(network.parameters())
            slopes = torch.autograd.grad(loss, parameters, retain_graph=True)
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter.grad = slope
        return terms

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        steps = scaled_steps(self.steps, budget)
        self.scaling.fit(train)
        optimisers = [
            adam(network.parameters(), self.learning_rate, betas=(0.5, 0.99))
            for network in self.networks
        ]

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            terms = self.gradients(draw())
            for optimiser in optimisers:
                optimiser.step()
            return {
                "prior": terms.prior,
                "likelihood": terms.likelihood,
                "discriminator": terms.adversarial,
                "deception": terms.deception,
            }

        run_training(
            self,
            update,
            optimisers=optimisers,
            schedulers=[linear_decay(optimiser, steps, start=0.5) for optimiser in optimisers],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            log=log,
            sample=self.sample,
            ema_decay=self.ema_decay,
        )
