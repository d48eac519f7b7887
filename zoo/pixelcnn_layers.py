"""The layers of PixelCNN++: causal convolutions with weight normalisation, and gated blocks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ABOVE, LEFT = (2, 3), (2, 2)  # kernels: this row and the one above, without or with the right
LEAST_DEVIATION = 1e-5  # of outputs that vary: where a stream has seen nothing, none do


def concat_elu(x: Tensor) -> Tensor:
    """Doubles the features: [n, c, ...] -> [n, 2 c, ...], the ELU of x and of -x side by side.

    In place, so that the backward pass needs the output only, which the convolution that follows
    keeps anyway.
    """
    return functional.elu_(torch.cat([x, -x], dim=1))


class CausalConv(nn.Module):
    """A convolution with weight normalisation that sees no row below and, if narrow, no right.

    Kernels ABOVE see the row above and their own; kernels LEFT see of both only what is not to
    the right; kernels (1, 3) see their own row, kernels (1, 1) one position.

    Args:
        inputs: features taken.
        outputs: features given.
        kernel: height and width.
        gain: the length of each output's weights, until data set it.
        stride: 2 halves both sides; what is kept are the positions with even row and column.

    Source: Salimans and Kingma 2016, arXiv:1602.07868, eq. 2 (weight normalisation).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        gain: float = 1.0,
        stride: int = 1,
    ) -> None:
        super().__init__()
        height, width = kernel
        fan_in = inputs * height * width
        self.direction = nn.Parameter(torch.randn(outputs, inputs, height, width))
        self.length = nn.Parameter(torch.full((outputs,), gain))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.kernel, self.gain, self.stride = kernel, gain, stride
        self.left = width // 2
        self.padding = (self.left, width - 1 - self.left, height - 1, 0)
        nn.init.normal_(self.direction, std=fan_in**-0.5)

    def weight(self) -> Tensor:
        norm = self.direction.flatten(1).norm(dim=1)
        return self.direction * (self.length / norm).view(-1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, self.padding)
        return functional.conv2d(padded, self.weight(), self.bias, self.stride)

    @torch.no_grad()
    def normalise(self, outputs: Tensor) -> Tensor:
        """Sets lengths and bias so that `outputs` would have had mean 0 and deviation `gain`.

        A bias that has been set before is added to that mean; an output that does not vary
        keeps its length.

        Args:
            outputs: [n, outputs, H, W], what this convolution gives now.

        Returns:
            What it gives from now on.

        Source: Salimans and Kingma 2016, eqs. 5 and 6.
        """
        unbiased = outputs - self.bias.view(-1, 1, 1)
        deviation, mean = torch.std_mean(unbiased, dim=(0, 2, 3), correction=0)
        factor = torch.where(deviation > LEAST_DEVIATION, self.gain / deviation, 1.0)
        self.length.mul_(factor)
        self.bias.sub_(mean * factor)
        return unbiased * factor.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


@torch.no_grad()
def initialise_from_data(network: nn.Module, *batch: Tensor | None) -> None:
    """Normalises each causal convolution by what it gives for a batch, the first one first.

    Args:
        network: run once, on
        batch: its inputs.
    """

    def normalised(layer: CausalConv, _: Any, outputs: Tensor) -> Tensor:
        return layer.normalise(outputs)

    layers = [layer for layer in network.modules() if isinstance(layer, CausalConv)]
    hooks = [layer.register_forward_hook(normalised) for layer in layers]
    try:
        network(*batch)
    finally:
        for hook in hooks:
            hook.remove()


class GatedBlock(nn.Module):
    """Adds a gated, non-linear function of its input, and of what it is told, to its input.

    Args:
        filters: features of the input.
        kernel: of both convolutions.
        dropout: probability of dropping a feature between them.
        told: how many times `filters` features it is told.
        classes: number of labels, None without.

    Source: Salimans et al. 2017, arXiv:1701.05517, section 2.3 (residual blocks); van den Oord et
    al. 2016, arXiv:1606.05328, eq. 4 (labels).
    """

    def __init__(
        self,
        filters: int,
        kernel: tuple[int, int],
        dropout: float,
        told: int = 0,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.inner = CausalConv(2 * filters, filters, kernel)
        self.link = CausalConv(2 * told * filters, filters, (1, 1)) if told else None
        self.outer = CausalConv(2 * filters, 2 * filters, kernel, gain=0.1)
        self.label = nn.Embedding(classes, 2 * filters) if classes else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.05)
        self.dropout = dropout

    def forward(
        self, x: Tensor, told: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Gives [n, filters, H, W].

        Args:
            x: [n, filters, H, W].
            told: [n, told * filters, H, W].
            labels: [n] classes.
        """
        hidden = self.inner(concat_elu(x))
        if self.link is not None and told is not None:
            hidden = hidden + self.link(concat_elu(told))
        hidden = concat_elu(hidden)
        if self.training and self.dropout:
            kept = torch.rand_like(hidden) >= self.dropout  # faster on a CPU than torch's own
            hidden = hidden * kept / (1 - self.dropout)
        outputs = self.outer(hidden)
        if self.label is not None and labels is not None:
            outputs = outputs + self.label(labels)[:, :, None, None]
        value, gate = outputs.chunk(2, dim=1)
        return x + value * gate.sigmoid()
