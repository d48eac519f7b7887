"""The VAE/GAN: an autoencoder whose reconstructions are judged in a discriminator's features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Independent, kl_divergence

from benchmark.spec import DataSpec, Log
from zoo.gan import LOSSES, discriminator_loss
from zoo.layers import PushForward, analyser, features, setting
from zoo.together import Together
from zoo.train import adam, linear_decay, scaled_steps, train_together
from zoo.vae import GaussianEncoder, diagonal_gaussian


@dataclass(frozen=True)
class Terms:
    """The three terms of the loss, and the decoder's form of the third: [S] nats each."""

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

    def encode(self, x: Tensor) -> Independent:
        return self.encoder(self.scaling(x))

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        self.fit_together([self], train, validation, budget, [log])

    def fit_together(
        self,
        models: Sequence["VAEGAN"],
        train: Tensor,
        validation: Tensor,
        budget: float,
        logs: Sequence[Log],
    ) -> None:
        steps = scaled_steps(self.steps, budget)
        for model in models:
            model.scaling.fit(train)
        copies = Copies(models)
        optimisers = [
            adam(network.parameters(), self.learning_rate, betas=(0.5, 0.99))
            for network in copies.networks
        ]

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            terms = copies.gradients(draw())
            for optimiser in optimisers:
                optimiser.step()
            return {
                "prior": terms.prior,
                "likelihood": terms.likelihood,
                "discriminator": terms.adversarial,
                "deception": terms.deception,
            }

        def sample(n: int) -> Tensor:
            return self.scaling.quantised(self.scaling.inverse(copies.drawn(n).float()))

        train_together(
            copies,
            update,
            logs=logs,
            optimisers=optimisers,
            schedulers=[linear_decay(optimiser, steps, start=0.5) for optimiser in optimisers],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            sample=sample,
            ema_decay=self.ema_decay,
        )
        copies.write_back()
        for model in models:
            model.eval()


class Copies(nn.Module):
    """S encoders, decoders and discriminators in training, each kind as one network.

    Args:
        models: equal but for the values of their parameters.
    """

    def __init__(self, models: Sequence[VAEGAN]) -> None:
        super().__init__()
        self._models = tuple(models)  # a tuple is no submodule: their own weights are not ours
        self.encoders = Together([model.encoder.network for model in models])
        self.generators = Together([model.generator for model in models])
        self.layers = Together([model.layer for model in models])
        self.verdicts = Together([model.verdict for model in models])

    def __len__(self) -> int:
        return len(self._models)

    @property
    def networks(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Encoders, decoders, discriminators."""
        return self.encoders, self.generators, nn.ModuleList([self.layers, self.verdicts])

    def drawn(self, n: int) -> Tensor:
        """What the decoders make of draws from the prior, [S, n, *shape], scaled."""
        model = self._models[0]
        shape = (len(self), n, model.latents)
        return self.generators(torch.randn(shape, device=model.scaling.scale.device))

    def terms(self, x: Tensor) -> Terms:
        """The loss terms of batches [S, n, *shape] of unscaled data."""
        model = self._models[0]
        posterior = diagonal_gaussian(self.encoders(model.scaling(x)))
        reconstructed = self.generators(posterior.rsample())
        drawn = self.drawn(x.shape[1])
        real_layer = self.layers(model.scaling.dequantised(x))
        fake_layer = self.layers(torch.cat([reconstructed, drawn], dim=1))
        verdicts = self.verdicts(fake_layer).chunk(2, dim=1)
        distance = (real_layer - fake_layer[:, : x.shape[1]]).square().flatten(2).sum(dim=2)
        deceive = LOSSES[model.loss].generator
        return Terms(
            prior=kl_divergence(posterior, model.prior()).mean(dim=1),
            likelihood=distance.mean(dim=1) / 2,
            adversarial=discriminator_loss(self.verdicts(real_layer), *verdicts),
            deception=torch.stack([deceive(logits) for logits in verdicts]).sum(dim=0),
        )

    def losses(self, terms: Terms) -> tuple[Tensor, Tensor, Tensor]:
        """What encoders, decoders and discriminators descend on (algorithm 1), [S] each."""
        return (
            terms.prior + terms.likelihood,
            self._models[0].gamma * terms.likelihood + terms.deception,
            terms.adversarial,
        )

    def gradients(self, x: Tensor) -> Terms:
        """Gives each network the gradient of its own loss and of no other."""
        terms = self.terms(x)
        for network, loss in zip(self.networks, self.losses(terms), strict=True):
            network.zero_grad(set_to_none=True)
            loss.sum().backward(inputs=list(network.parameters()), retain_graph=True)
        return terms

    def write_back(self) -> None:
        """Copies the weights into the models that this was made from."""
        for networks in (self.encoders, self.generators, self.layers, self.verdicts):
            networks.write_back()
