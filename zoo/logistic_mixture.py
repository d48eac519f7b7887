"""Mixtures of logistics whose channels depend linearly on each other: masses and densities."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

LEAST_LOG_SCALE = -7.0  # of scaled data: a sharper peak than any grey level needs


@dataclass(frozen=True)
class LogisticMixture:
    """One choice of component for all channels, then each channel given those before it.

    The mean of channel c is `means[c] + sum_{b < c} slopes[c, b] x[b]`. With `levels`, data are
    the centres (2 v + 1) / levels - 1 of the intervals of the integers v, and have a mass;
    without, they are any number, and have a density.

    Args:
        log_weights: [n, k, *positions], each position's summing to one.
        means: [n, channels, k, *positions].
        log_scales: [n, channels, k, *positions].
        slopes: [n, channels (channels - 1) / 2, k, *positions], those of channel 1 first.
        levels: number of grey levels, None for a density.

    Source: Salimans et al. 2017, arXiv:1701.05517, eqs. 2 and 3.
    """

    log_weights: Tensor
    means: Tensor
    log_scales: Tensor
    slopes: Tensor
    levels: int | None = None

    def log_prob(self, x: Tensor) -> Tensor:
        """Gives [n, *positions] nats for scaled data x [n, channels, *positions]."""
        x = x.unsqueeze(2)
        means = torch.cat(list(self._means_given(x)), dim=1)
        if self.levels is None:
            terms = log_logistic_density(x, means, self.log_scales)
        else:
            terms = log_logistic_mass(x, means, self.log_scales, self.levels)
        return torch.logsumexp(self.log_weights + terms.sum(dim=1), dim=1)

    def sample(self, uniform: Tensor) -> Tensor:
        """Turns uniform numbers [n, 1 + channels, *positions] into data [n, channels, ...].

        The first number chooses the component, the others are the channels' quantiles.
        """
        uniform = uniform.clamp(min=torch.finfo(uniform.dtype).tiny)
        chosen = self._chosen(uniform[:, :1])
        noise = uniform[:, 1:].log() - torch.log1p(-uniform[:, 1:])
        noise = noise.unsqueeze(2) * chosen.log_scales.exp()
        x = torch.zeros_like(noise)
        for channel, mean in enumerate(chosen._means_given(x)):
            # Later means see this channel through x, so it must be a grey level by then.
            x[:, channel] = self._quantised(mean[:, 0] + noise[:, channel])
        return x.squeeze(2)

    def _means_given(self, x: Tensor) -> Iterator[Tensor]:
        first = 0
        for channel, mean in enumerate(self.means.split(1, dim=1)):
            slopes = self.slopes[:, first : first + channel]
            first += channel
            yield mean + (slopes * x[:, :channel]).sum(dim=1, keepdim=True) if channel else mean

    def _chosen(self, uniform: Tensor) -> "LogisticMixture":
        cumulative = self.log_weights.exp().cumsum(dim=1)[:, :-1]
        index = (uniform > cumulative).sum(dim=1, keepdim=True)  # [n, 1, *positions]

        def choose(values: Tensor) -> Tensor:
            return values.gather(2, index.unsqueeze(1).expand_as(values[:, :, :1]))

        first = self.log_weights.gather(1, index)
        return LogisticMixture(
            first, choose(self.means), choose(self.log_scales), choose(self.slopes), self.levels
        )

    def _quantised(self, x: Tensor) -> Tensor:
        if self.levels is None:
            return x
        level = ((x + 1) * (self.levels / 2) - 0.5).round().clamp(0, self.levels - 1)
        return (2 * level + 1) / self.levels - 1


def parameter_count(channels: int, mixtures: int) -> int:
    """How many numbers `mixture_from` needs at each position."""
    return sum(_sizes(channels, mixtures))


def mixture_from(
    parameters: Tensor, channels: int, mixtures: int, levels: int | None
) -> LogisticMixture:
    """Reads a mixture off a network's output.

    Args:
        parameters: [n, parameter_count(channels, mixtures), *positions], any real numbers.
        channels: of the data.
        mixtures: number of components.
        levels: number of grey levels, None for a density.
    """
    # Half precision would move masses: the network may compute in it, the likelihood may not.
    parameters = parameters.to(torch.promote_types(parameters.dtype, torch.float32))
    logits, means, log_scales, slopes = parameters.split(_sizes(channels, mixtures), dim=1)
    # A soft floor, where a clamp would leave sharp components without a gradient.
    log_scales = LEAST_LOG_SCALE + functional.softplus(log_scales - LEAST_LOG_SCALE)
    return LogisticMixture(
        logits.log_softmax(dim=1),
        means.unflatten(1, (channels, mixtures)),
        log_scales.unflatten(1, (channels, mixtures)),
        slopes.tanh().unflatten(1, (channels * (channels - 1) // 2, mixtures)),
        levels,
    )


def log_logistic_mass(x: Tensor, means: Tensor, log_scales: Tensor, levels: int) -> Tensor:
    """Logarithm of a logistic's mass between the ends of the interval around each x.

    With a < b the scaled ends, sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)):
    a product, so nothing cancels, and its logarithm has a gradient however far x is from the
    mean. The first and the last interval reach to infinity.

    Args:
        x: scaled data, centres (2 v + 1) / levels - 1.
        means: broadcast against x.
        log_scales: broadcast against x.
        levels: how many intervals of width 2 / levels fill [-1, 1].
    """
    steepness = torch.exp(-log_scales)
    offset, half = x - means, 1 / levels
    is_first, is_last = x < 2 * half - 1, x > 1 - 2 * half
    below_upper = functional.logsigmoid((half + offset) * steepness)
    above_lower = functional.logsigmoid((half - offset) * steepness)
    between = torch.log(-torch.expm1(-2 * half * steepness))
    return (
        below_upper.masked_fill(is_last, 0.0)
        + above_lower.masked_fill(is_first, 0.0)
        + between.masked_fill(is_first | is_last, 0.0)
    )


def log_logistic_density(x: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Logarithm of a logistic's density."""
    z = (x - means) * torch.exp(-log_scales)
    return functional.logsigmoid(z) + functional.logsigmoid(-z) - log_scales


def spread_evenly(bias: Tensor, channels: int, mixtures: int, reach: float) -> None:
    """Sets a network's last bias so that the components lie side by side over [-reach, reach].

    Args:
        bias: [parameter_count(channels, mixtures)], written in place.
        channels: of the data.
        mixtures: number of components.
        reach: how far from 0 the outermost components lie.
    """
    edges = torch.linspace(-reach, reach, mixtures + 1)
    centres = torch.tensor([(low + high) / 2 for low, high in pairwise(edges.tolist())])
    with torch.no_grad():
        logits, means, log_scales, slopes = bias.split(_sizes(channels, mixtures))
        logits.zero_()
        means.copy_(centres.repeat(channels))
        log_scales.fill_(torch.tensor(reach / mixtures).log())
        slopes.zero_()


def _sizes(channels: int, mixtures: int) -> list[int]:
    pairs = channels * (channels - 1) // 2
    return [mixtures, channels * mixtures, channels * mixtures, pairs * mixtures]
