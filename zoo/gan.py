"""The generative adversarial network, with the non-saturating or the minimax loss."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmark.spec import DataSpec, Log
from zoo.layers import PushForward, analyser, features, setting
from zoo.train import adam, descend, linear_decay, scaled_steps
from zoo.train import train as run_training


def discriminator_loss(real: Tensor, *generated: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))] from logits [n], in nats.

    Args:
        real: [n] logits of data.
        generated: [n] logits of samples; the second term is summed over several kinds of them.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, eq. 1.
    """
    return softplus(-real).mean() + sum(softplus(logits).mean() for logits in generated)


def non_saturating_loss(generated: Tensor) -> Tensor:
    """-E[log D(G(z))] from logits [n], in nats (section 3 of the source)."""
    return softplus(-generated).mean()


def minimax_loss(generated: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))] from logits [n], in nats: flat where D rejects with confidence."""
    return -softplus(generated).mean()


GENERATOR_LOSSES = {"non_saturating": non_saturating_loss, "minimax": minimax_loss}


class GAN(PushForward):
    """A generator trained against a discriminator, one step each in turn.

    Args:
        loss: of the generator, "non_saturating" or "minimax".
        steps: of training, at budget 1.
        latents: dimension of z.
        width: units of a hidden layer, channels of the widest feature map.
        dropout: in front of the discriminator's last layer.
        ema_decay: of the averaged weights that samples come from.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1; Adam as in Radford et al. 2016,
    arXiv:1511.06434, section 3.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        loss: str = "non_saturating",
        steps: int | None = None,
        batch_size: int | None = None,
        latents: int | None = None,
        width: int | None = None,
        learning_rate: float | None = None,
        dropout: float | None = None,
        ema_decay: float = 0.999,
    ) -> None:
        if loss not in GENERATOR_LOSSES:
            raise ValueError(f"loss must be 'non_saturating' or 'minimax', got {loss!r}")
        latents = setting(latents, spec, points=4, small=32, large=128)
        width = setting(width, spec, points=128, small=32, large=32)
        super().__init__(spec, latents, width)
        self.loss = loss
        self.steps = setting(steps, spec, points=6_000, small=2_500, large=20_000)
        self.batch_size = setting(batch_size, spec, points=256, small=64, large=128)
        self.learning_rate = setting(learning_rate, spec, points=1e-3, small=5e-4, large=2e-4)
        self.ema_decay = ema_decay
        rate = setting(dropout, spec, points=0.0, small=0.3, large=0.0)
        self.discriminator = nn.Sequential(
            analyser(spec, width, lambda: nn.LeakyReLU(0.2)),
            nn.Dropout(rate),
            nn.Linear(features(spec, width), 1),
            nn.Flatten(0),
        )

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        steps = scaled_steps(self.steps, budget)
        self.scaling.fit(train)
        optimisers = [
            adam(network.parameters(), self.learning_rate, betas=(0.5, 0.99))
            for network in (self.generator, self.discriminator)
        ]

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            real = self.scaling.dequantised(draw())
            generated = self.generator(self.latent_batch(len(real)))
            critic = discriminator_loss(
                self.discriminator(real), self.discriminator(generated.detach())
            )
            descend(optimisers[1], critic)
            deception = GENERATOR_LOSSES[self.loss](self.discriminator(generated))
            descend(optimisers[0], deception)
            return {"generator": deception, "discriminator": critic}

        run_training(
            self,
            update,
            optimisers=optimisers,
            schedulers=[linear_decay(optimiser, steps, start=0.5) for optimiser in optimisers],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            log=log,
            ema_decay=self.ema_decay,
        )
