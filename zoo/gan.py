"""Generative adversarial networks: a table of losses, and the one training that they share."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from benchmark.spec import DataSpec, Log
from zoo.divergences import DIVERGENCES
from zoo.layers import PushForward, analyser, features, setting
from zoo.penalties import PENALTIES
from zoo.players import Loss, Players, Rules
from zoo.train import linear_decay, scaled_steps, train_together


def discriminator_loss(real: Tensor, *generated: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))] from logits, in nats.

    Args:
        real: [..., n] logits of data.
        generated: [..., n] logits of samples; the second term is summed over several kinds of
            them.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, eq. 1.
    """
    rejected = sum(softplus(logits).mean(dim=-1) for logits in generated)
    return softplus(-real).mean(dim=-1) + rejected


def non_saturating_loss(generated: Tensor) -> Tensor:
    """-E[log D(G(z))] from logits [..., n], in nats (section 3 of the source)."""
    return softplus(-generated).mean(dim=-1)


def minimax_loss(generated: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))] from logits [..., n], in nats: flat where D rejects with confidence."""
    return -softplus(generated).mean(dim=-1)


def minus_mean(generated: Tensor) -> Tensor:
    """-E[D(G(z))] from scores [..., n]."""
    return -generated.mean(dim=-1)


LOSSES = {
    "minimax": Loss(
        discriminator_loss, minimax_loss, "Goodfellow et al. 2014, arXiv:1406.2661, eq. 1"
    ),
    "non_saturating": Loss(
        discriminator_loss, non_saturating_loss, "Goodfellow et al. 2014, section 3"
    ),
    "least_squares": Loss(
        lambda real, generated: (
            ((real - 1).square().mean(dim=-1) + generated.square().mean(dim=-1)) / 2
        ),
        lambda generated: (generated - 1).square().mean(dim=-1) / 2,
        "Mao et al. 2017, arXiv:1611.04076, eq. 9",
    ),
    "wasserstein": Loss(
        lambda real, generated: generated.mean(dim=-1) - real.mean(dim=-1),
        minus_mean,
        "Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1",
    ),
    "hinge": Loss(
        lambda real, generated: relu(1 - real).mean(dim=-1) + relu(1 + generated).mean(dim=-1),
        minus_mean,
        "Miyato et al. 2018, arXiv:1802.05957, eqs. 16 and 17",
    ),
    **{
        name: Loss(
            divergence.discriminator_loss,
            divergence.generator_loss,
            "Nowozin et al. 2016, arXiv:1606.00709, eq. 6",
        )
        for name, divergence in DIVERGENCES.items()
    },
}


class GAN(PushForward):
    """A generator trained against a discriminator, by turns.

    Args:
        loss: one of LOSSES. Those of f-divergences are played as saddle points: the generator
            descends on what the discriminator ascends.
        penalty: on the discriminator's slope, one of PENALTIES or "none".
        penalty_weight: its factor (lambda in the sources).
        clip: bound on every number of the discriminator's weights, None for none (Arjovsky et
            al. 2017, arXiv:1701.07875).
        spectral: whether the discriminator's weights are divided by their largest singular value.
        pack: how many examples the discriminator judges at once, side by side. A batch is dealt
            out into packs, so every training sees the same number of examples (Lin et al. 2018,
            arXiv:1712.04086).
        unroll: steps of the discriminator that the generator looks ahead, all on the batch at
            hand and with the discriminator's own optimiser (Metz et al. 2017, arXiv:1611.02163).
        critic_steps: of the discriminator, each with a new batch, for one of the generator.
        steps: of the generator, at budget 1.
        latents: dimension of z.
        width: units of a hidden layer, channels of the widest feature map.
        betas: of Adam, for both players.
        decay_start: the fraction of steps after which learning rates decrease.
        dropout: in front of the discriminator's last layer.
        ema_decay: of the averaged weights that samples come from, 0 for the last weights.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1; Adam as in Radford et al. 2016,
    arXiv:1511.06434, section 3.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        loss: str = "non_saturating",
        penalty: str = "none",
        penalty_weight: float | None = None,
        clip: float | None = None,
        spectral: bool = False,
        pack: int = 1,
        unroll: int = 0,
        critic_steps: int = 1,
        steps: int | None = None,
        batch_size: int | None = None,
        latents: int | None = None,
        width: int | None = None,
        learning_rate: float | None = None,
        betas: Sequence[float] = (0.5, 0.99),
        decay_start: float = 0.5,
        dropout: float | None = None,
        ema_decay: float = 0.999,
    ) -> None:
        latents = setting(latents, spec, points=4, small=32, large=128)
        width = setting(width, spec, points=128, small=32, large=32)
        super().__init__(spec, latents, width)
        if loss not in LOSSES:
            known = ", ".join(map(repr, LOSSES))
            raise ValueError(f"loss must be one of {known}, got {loss!r}")
        self.rules = Rules(
            LOSSES[loss],
            penalty=penalty,
            penalty_weight=setting(penalty_weight, spec, points=0.1, small=10.0, large=10.0),
            clip=clip,
            spectral=spectral,
            pack=pack,
            unroll=unroll,
            critic_steps=critic_steps,
        )
        self.steps = setting(steps, spec, points=5_000, small=2_000, large=20_000)
        self.batch_size = setting(batch_size, spec, points=256, small=64, large=128)
        self.learning_rate = setting(learning_rate, spec, points=1e-3, small=5e-4, large=2e-4)
        self.betas = (betas[0], betas[1])
        self.decay_start, self.ema_decay = decay_start, ema_decay
        _check(self.rules, self.batch_size)
        rate = setting(dropout, spec, points=0.0, small=0.3, large=0.0)
        packs = DataSpec((pack * spec.shape[0], *spec.shape[1:]), spec.levels)
        self.discriminator = nn.Sequential(
            analyser(packs, width, lambda: nn.LeakyReLU(0.2)),
            nn.Dropout(rate),
            nn.Linear(features(packs, width), 1),
            nn.Flatten(0),
        )

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        self.fit_together([self], train, validation, budget, [log])

    def fit_together(
        self,
        models: Sequence["GAN"],
        train: Tensor,
        validation: Tensor,
        budget: float,
        logs: Sequence[Log],
    ) -> None:
        steps = scaled_steps(self.steps, budget)
        for model in models:
            model.scaling.fit(train)
        players = Players(
            [model.generator for model in models],
            [model.discriminator for model in models],
            self.rules,
            learning_rate=self.learning_rate,
            betas=self.betas,
        )

        def latents(n: int) -> Tensor:
            return torch.randn(len(models), n, self.latents, device=train.device)

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            return players.turn(
                lambda: self.scaling.dequantised(draw()), lambda: latents(self.batch_size)
            )

        def sample(n: int) -> Tensor:
            return self.scaling.inverse(players.generators(latents(n)).float())

        train_together(
            players,
            update,
            logs=logs,
            optimisers=players.optimisers,
            schedulers=[
                linear_decay(optimiser, steps, start=self.decay_start)
                for optimiser in players.optimisers
            ],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            sample=sample,
            ema_decay=self.ema_decay or None,
        )
        players.write_back()
        for model in models:
            model.eval()


def _check(rules: Rules, batch_size: int) -> None:
    if rules.penalty not in ("none", *PENALTIES):
        known = ", ".join(map(repr, PENALTIES))
        raise ValueError(f"penalty must be 'none' or one of {known}, got {rules.penalty!r}")
    if rules.critic_steps < 1:
        raise ValueError(f"critic_steps must be at least 1, got {rules.critic_steps}")
    if rules.unroll < 0:
        raise ValueError(f"unroll must not be negative, got {rules.unroll}")
    if rules.unroll and rules.clip is not None:
        raise ValueError("steps that clip weights cannot be unrolled: choose unroll or clip")
    if rules.pack < 1 or batch_size % rules.pack:
        raise ValueError(f"pack must divide the batch size {batch_size}, got {rules.pack}")
