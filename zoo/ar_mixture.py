"""The autoregressive mixture: each coordinate given those before it is a mixture of Gaussians."""

import math
from collections.abc import Iterator
from itertools import groupby
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.spec import DataSpec
from zoo.exact import DensityNetwork, ExactDensity

LEAST_LOG_SCALE = -7.0  # of scaled data: keeps a component on a single value finite
REACH = 2.0  # of scaled data: the components start side by side from -REACH to REACH


class AutoregressiveMixture(ExactDensity):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}), each factor a mixture of Gaussians; points only.

    Args:
        steps: of training, at budget 1.
        width: units of a hidden layer.
        layers: number of hidden layers.
        components: Gaussians in each conditional.
        ema_decay: of the averaged weights that are kept, 0 for none.

    Source: Uria et al. 2013, arXiv:1306.0186; its network is the masked one of Germain et al.
    2015, arXiv:1502.03509.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: int = 4_000,
        batch_size: int = 256,
        width: int = 128,
        layers: int = 2,
        components: int = 20,
        learning_rate: float = 3e-3,
        ema_decay: float = 0.995,
    ) -> None:
        if min(width, layers, components) < 1:
            raise ValueError(
                f"width, layers and components must be positive, got {width}, {layers} and "
                f"{components}"
            )
        super().__init__(
            spec,
            MaskedConditionals(spec.dims, width, layers, components),
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
        )


class MaskedLinear(nn.Linear):
    """A linear layer of which only some weights exist.

    Args:
        mask: [outputs, inputs], true where a weight exists.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        outputs, inputs = mask.shape
        super().__init__(inputs, outputs)
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.mask, self.bias)

    def part(self, x: Tensor, rows: slice) -> Tensor:
        """Some outputs, from the first inputs only: those that these outputs may see."""
        return functional.linear(x, self.weight[rows, : x.shape[1]], self.bias[rows])


class MaskedConditionals(DensityNetwork):
    """One network for the conditionals of all coordinates of a scaled point.

    A hidden unit of rank r sees the coordinates 0 .. r only, and the parameters of coordinate i
    see only units of rank below i. Units are sorted by rank, so that what a coordinate may see is
    the first part of every layer. A strictly triangular linear map from x to the means stands
    beside the hidden layers: with it alone the network holds every Gaussian.

    Args:
        dims: d, the number of coordinates.
        width: units of a hidden layer.
        layers: number of hidden layers.
        components: k, the Gaussians in each conditional.

    Source: Germain et al. 2015, arXiv:1502.03509, section 4 (masks, direct connections).
    """

    def __init__(self, dims: int, width: int, layers: int, components: int) -> None:
        super().__init__()
        self.dims, self.width, self.components = dims, width, components
        self.numbers = dims * 3 * components
        coordinates = torch.arange(dims)
        ranks = torch.arange(width) * max(1, dims - 1) // width
        self.seen = [int((ranks < i).sum()) for i in range(dims)]  # units, by each coordinate
        inner = [MaskedLinear(ranks[:, None] >= ranks) for _ in range(layers - 1)]
        self.hidden = nn.ModuleList([MaskedLinear(ranks[:, None] >= coordinates), *inner])
        owners = coordinates.repeat_interleave(3 * components)
        self.output = MaskedLinear(owners[:, None] > ranks)
        self.direct = MaskedLinear(coordinates[:, None] > coordinates)
        self._spread()

    def _spread(self) -> None:
        """Starts with components side by side, and coordinates that hardly see each other."""
        edges = torch.linspace(-REACH, REACH, self.components + 1)
        with torch.no_grad():
            logits, means, log_scales = self._split(self.output.bias).unbind(dim=-2)
            logits.zero_()
            means.copy_((edges[1:] + edges[:-1]) / 2)
            log_scales.fill_(math.log(REACH / self.components))
            self.output.weight.mul_(0.1)
            self.direct.weight.zero_()
            self.direct.bias.zero_()

    def _split(self, parameters: Tensor) -> Tensor:
        return parameters.unflatten(-1, (-1, 3, self.components))

    def forward(self, scaled: Tensor) -> Tensor:
        """Log-density of scaled points [n, d], [n] nats."""
        return self.conditionals(scaled).sum(dim=1)

    def conditionals(self, scaled: Tensor) -> Tensor:
        """Log p(x_i given x_1 .. x_{i-1}) of scaled points [n, d], [n, d] nats."""
        parameters, shift = self.mixtures(scaled)
        return log_mixture(scaled - shift, parameters)

    def mixtures(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Each coordinate's logits, means and log-scales [n, d, 3, k], and what moves its means.

        Returns:
            The parameters, and the shift [n, d] that is added to all means of a coordinate.
        """
        units = scaled
        for layer in self.hidden:
            units = functional.silu(layer(units))
        return self._split(self.output(units)), self.direct(scaled)

    def sample(self, n: int) -> Tensor:
        """Draws scaled points [n, d] at the cost of one pass: no unit is computed twice.

        Coordinates in a row that see the same units are drawn together. Their means move each
        other through the direct connections only, which is a triangular system.
        """
        x = self.output.bias.new_zeros(n, self.dims)
        units = [x.new_zeros(n, self.width) for _ in self.hidden]
        for group, parameters in self._groups(x, units):
            drawn = draw_mixture(parameters) + self.direct.part(x[:, : group.start], group)
            inner = self.direct.weight[group, group]
            x[:, group] = torch.linalg.solve_triangular(
                -inner, drawn.mT, upper=False, unitriangular=True
            ).mT
        return x

    def _groups(self, x: Tensor, units: list[Tensor]) -> Iterator[tuple[slice, Tensor]]:
        """Gives coordinates and their mixtures [n, g, 3, k]; wants x [n, d] filled meanwhile."""
        known, size = 0, 3 * self.components
        for seen, its in groupby(range(self.dims), key=self.seen.__getitem__):
            coordinates = list(its)
            group = slice(coordinates[0], coordinates[-1] + 1)
            below = x[:, : group.start]
            for layer, values in zip(self.hidden, units, strict=True):
                new = cast(MaskedLinear, layer).part(below, slice(known, seen))
                values[:, known:seen] = functional.silu(new)
                below = values[:, :seen]
            rows = slice(group.start * size, group.stop * size)
            yield group, self._split(self.output.part(below, rows))
            known = seen


def log_mixture(x: Tensor, parameters: Tensor) -> Tensor:
    """Log-density of numbers [...] under mixtures of Gaussians.

    Args:
        x: [...].
        parameters: [..., 3, k], the logits, means and log-scales (before their floor).

    Returns:
        [...] nats.
    """
    logits, means, log_scales = parameters.unbind(dim=-2)
    log_scales = floored(log_scales)
    errors = (x[..., None] - means) * torch.exp(-log_scales)
    terms = logits.log_softmax(dim=-1) - log_scales - 0.5 * errors.square()
    return torch.logsumexp(terms, dim=-1) - 0.5 * math.log(2 * math.pi)


def draw_mixture(parameters: Tensor) -> Tensor:
    """One number [...] from each mixture with parameters [..., 3, k]; NaN where its shares are."""
    sums = parameters[..., 0, :].softmax(dim=-1).cumsum(dim=-1)
    # One uniform number for each, where `multinomial` draws one for each component.
    share = torch.rand_like(sums[..., -1:]) * sums[..., -1:]
    chosen = (sums <= share).sum(dim=-1).clamp(max=sums.shape[-1] - 1)
    own = parameters.gather(-1, chosen[..., None, None].expand(*parameters.shape[:-1], 1))[..., 0]
    _, mean, log_scale = own.unbind(dim=-1)
    drawn = torch.normal(mean, floored(log_scale).exp())
    return drawn.where(share[..., 0].isfinite(), math.nan)


def floored(log_scales: Tensor) -> Tensor:
    """A soft floor, where a clamp would leave sharp components without a gradient."""
    return LEAST_LOG_SCALE + functional.softplus(log_scales - LEAST_LOG_SCALE)
