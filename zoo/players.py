"""Generators and discriminators in training: whose turn it is, and what it descends on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.penalties import PENALTIES, SpectralNorm, clip
from zoo.together import Together
from zoo.train import adam, descend
from zoo.unrolled import Parameters, unrolled


@dataclass(frozen=True)
class Loss:
    """What the two players descend on, [...], given the discriminator's raw outputs [..., n].

    Args:
        discriminator: of its outputs for data and for samples, in this order.
        generator: of its outputs for samples.
        source: where both are from.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    source: str


@dataclass(frozen=True)
class Rules:
    """The settings of `zoo.gan.GAN` that say how a turn is played, under the same names."""

    loss: Loss
    penalty: str = "none"
    penalty_weight: float = 0.0
    clip: float | None = None
    spectral: bool = False
    pack: int = 1
    unroll: int = 0
    critic_steps: int = 1


class Players(nn.Module):
    """S generators and their S discriminators, each kind trained as one network.

    Args:
        generators: of one architecture, from [n, latents].
        discriminators: of one architecture, to [n / pack] raw outputs.
        rules: of the game.
        learning_rate: of both players' Adam.
        betas: of both players' Adam.
    """

    def __init__(
        self,
        generators: Sequence[nn.Module],
        discriminators: Sequence[nn.Module],
        rules: Rules,
        *,
        learning_rate: float,
        betas: tuple[float, float],
    ) -> None:
        super().__init__()
        self.rules = rules
        self.generators, self.discriminators = Together(generators), Together(discriminators)
        weights = self.discriminators.stacked()
        self.normalise = SpectralNorm(weights) if rules.spectral else None
        self.optimisers = [
            adam(network.parameters(), learning_rate, betas=betas)
            for network in (self.generators, self.discriminators)
        ]

    def judge(self, packs: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Raw outputs [S, n] for scaled packs [S, n, *shape], with other parameters on demand."""
        if self.normalise is not None:
            given = self.discriminators.stacked() if parameters is None else parameters
            parameters = self.normalise(given)
        return self.discriminators(packs, parameters)

    def terms(
        self, real: Tensor, generated: Tensor, parameters: Parameters | None = None
    ) -> dict[str, Tensor]:
        """The terms of the discriminators' loss, [S] each, before the penalty is weighted.

        Args:
            real: [S, n, *shape] packs, scaled.
            generated: [S, n, *shape], the same.
            parameters: the discriminators', by default their own.
        """

        def judge(packs: Tensor) -> Tensor:
            return self.judge(packs, parameters)

        # One pass over both: small networks are bound by the number of calls.
        outputs = judge(torch.cat([real, generated], dim=1)).chunk(2, dim=1)
        terms = {"discriminator": self.rules.loss.discriminator(*outputs)}
        if self.rules.penalty != "none":
            terms["penalty"] = PENALTIES[self.rules.penalty](judge, real, generated)
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """What the discriminators descend on, summed over the S of them."""
        total = terms["discriminator"].sum()
        if "penalty" in terms:
            total = total + self.rules.penalty_weight * terms["penalty"].sum()
        return total

    def turn(
        self, real_batch: Callable[[], Tensor], latent_batch: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """Steps of the discriminators, then one of the generators against the last batch.

        Args:
            real_batch: draws scaled data [S, n, *shape].
            latent_batch: draws [S, n, latents].

        Returns:
            The losses, [S] each, before the steps that lower them.
        """
        to_generate, to_judge = self.optimisers
        for _ in range(self.rules.critic_steps):
            real = packed(real_batch(), self.rules.pack)
            generated = packed(self.generators(latent_batch()), self.rules.pack)
            terms = self.terms(real, generated.detach())
            descend(to_judge, self.total(terms))
            if self.rules.clip is not None:
                clip(self.discriminators.stacked().values(), self.rules.clip)
        deception = self.deception(real, generated)
        descend(to_generate, deception.sum())
        return {"generator": deception, **terms}

    def write_back(self) -> None:
        """Copies the weights into the networks that the players were made from."""
        self.generators.write_back()
        self.discriminators.write_back()

    def deception(self, real: Tensor, generated: Tensor) -> Tensor:
        """The generators' loss [S], before discriminators that may have looked ahead."""
        parameters = None
        if self.rules.unroll:
            parameters = unrolled(
                lambda ahead: self.total(self.terms(real, generated, ahead)),
                self.discriminators.stacked(),
                self.optimisers[1],
                self.rules.unroll,
            )
        return self.rules.loss.generator(self.judge(generated, parameters))


def packed(x: Tensor, size: int) -> Tensor:
    """Sets [S, n, C, ...] side by side in packs, [S, n / size, size * C, ...], in order.

    Source: Lin et al. 2018, arXiv:1712.04086.
    """
    copies, n, first, *others = x.shape
    return x.reshape(copies, n // size, size * first, *others)
