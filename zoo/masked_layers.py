"""Causal layers: masked convolutions, run over a whole image or along with its pixels."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerWalk(Protocol):
    """A layer on its way through n images in raster order, which keeps what it will need.

    What it keeps from row to row stays where it is in memory, so that its work can be recorded.
    """

    def next_row(self) -> None:
        """Goes to the first or the next row: computes what follows from the rows above."""
        ...

    def __call__(self, column: int, x: Tensor, /) -> Tensor:
        """Inputs [n, inputs] of a pixel -> outputs [n, outputs]; the last call for it counts."""
        ...


class CausalLayer(nn.Module):
    """Maps [n, inputs, H, W] to [n, outputs, H, W]; a pixel feels itself and earlier ones only.

    Attributes:
        kept: how many numbers a walk keeps for one column of one image.
    """

    kept: int

    def walk(self, n: int, width: int) -> LayerWalk:
        """Begins above the first row of n images."""
        raise NotImplementedError


def groups(features: int, channels: int) -> Tensor:
    """Which channel of the image each feature belongs to, [features], in equal shares.

    Raises:
        ValueError: there are fewer features than channels.
    """
    if features < channels:
        raise ValueError(
            f"{features} filters cannot be shared among {channels} channels: take more of them"
        )
    return torch.arange(features) * channels // features


class MaskedConv(CausalLayer):
    """A convolution that sees nothing after its own sub-pixel.

    It sees whole rows above, in its own row what is to the left, and of its own pixel the features
    of earlier channels; those of its own channel too (mask B of the source) unless it is strict
    (mask A).

    Args:
        seen: [inputs], the channel that each input belongs to.
        own: [outputs], the same of each output.
        kernel: rows, of which the last is the pixel's own, and columns, an odd number.
        strict: whether a feature must not see its own channel at its own pixel.
        gain: standard deviation of outputs for inputs of variance 1, at first.

    Source: van den Oord et al. 2016, arXiv:1601.06759, section 3.4.
    """

    mask: Tensor  # [outputs, inputs, *kernel]

    def __init__(
        self,
        seen: Tensor,
        own: Tensor,
        kernel: tuple[int, int] = (1, 1),
        *,
        strict: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.kept = kernel[0] * len(seen) + len(own) if max(kernel) > 1 else 0
        self.reach = kernel[1] // 2
        hidden = own[:, None] <= seen if strict else own[:, None] < seen
        mask = torch.ones(len(own), len(seen), *kernel)
        mask[:, :, -1, self.reach + 1 :] = 0
        mask[:, :, -1, self.reach][hidden] = 0
        self.register_buffer("mask", mask, persistent=False)
        fan_in = mask.flatten(1).sum(dim=1).clamp(min=1).view(-1, 1, 1, 1)
        self.weight = nn.Parameter(gain * torch.randn_like(mask) * fan_in.rsqrt())
        self.bias = nn.Parameter(torch.zeros(len(own)))

    def masked(self) -> Tensor:
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (self.reach, self.reach, self.mask.shape[2] - 1, 0))
        return functional.conv2d(padded, self.masked(), self.bias)

    def walk(self, n: int, width: int) -> "ConvWalk | PointWalk":
        if self.mask.shape[2:].numel() == 1:
            return PointWalk(self)
        return ConvWalk(self, n, width)


class PointWalk:
    """A masked convolution of single pixels on its way: there is nothing to keep."""

    def __init__(self, convolution: MaskedConv) -> None:
        self.weight, self.bias = convolution.masked()[:, :, 0, 0].T, convolution.bias

    def next_row(self) -> None:
        pass

    def __call__(self, column: int, x: Tensor, /) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


class ConvWalk:
    """A masked convolution on its way: the rows above are convolved for a whole row at once."""

    def __init__(self, convolution: MaskedConv, n: int, width: int) -> None:
        weight, self.bias = convolution.masked().permute(2, 3, 1, 0), convolution.bias
        height, self.kernel_width, inputs, _ = weight.shape
        self.reach, self.width = convolution.reach, width
        self.of_above = weight[:-1].flatten(0, 2)  # [numbers seen, outputs]
        self.of_row = weight[-1, : self.reach + 1].flatten(0, 1)
        self.rows = weight.new_zeros(n, height, width + 2 * self.reach, inputs)

    def next_row(self) -> None:
        self.rows.copy_(functional.pad(self.rows[:, 1:], (0, 0, 0, 0, 0, 1)))
        above = torch.addmm(
            self.bias, windows(self.rows[:, :-1], self.kernel_width), self.of_above
        )
        self.above = above.unflatten(0, (-1, self.width))  # [n, W, outputs]

    def row(self) -> Tensor:
        """The inputs [n, W, inputs] that were seen of the current row."""
        return self.rows[:, -1, self.reach : self.reach + self.width]

    def see(self, column: int, x: Tensor) -> None:
        """Is shown the inputs [n, inputs] of a pixel."""
        self.rows[:, -1, self.reach + column] = x

    def at(self, column: int) -> Tensor:
        """The outputs [n, outputs] of a pixel, from the inputs seen so far."""
        seen = self.rows[:, -1, column : column + self.reach + 1].flatten(1)
        return torch.addmm(self.above[:, column], seen, self.of_row)

    def __call__(self, column: int, x: Tensor, /) -> Tensor:
        self.see(column, x)
        return self.at(column)


def windows(rows: Tensor, width: int) -> Tensor:
    """What a kernel of this width lies on at each place, [n * places, rows * width * inputs].

    Args:
        rows: [n, rows, columns, inputs], as many as the kernel has.
        width: of the kernel.
    """
    n, height, columns, inputs = rows.shape
    places = columns - width + 1
    seen = rows.unfold(2, width, 1).permute(0, 2, 1, 4, 3)
    return seen.reshape(n * places, height * width * inputs)


class RowConv(nn.Module):
    """A convolution that sees whole rows, its own and those above: all the image is a row later.

    Args:
        inputs: features.
        outputs: features.
        kernel: rows, of which the last is the position's own, and columns, an odd number.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.height, self.reach = kernel[0], kernel[1] // 2
        fan_in = inputs * kernel[0] * kernel[1]
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *kernel) * fan_in**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (self.reach, self.reach, self.height - 1, 0))
        return functional.conv2d(padded, self.weight, self.bias)


class RowConvWalk:
    """A `RowConv` on its way down n images, row by row."""

    def __init__(self, convolution: RowConv, n: int, width: int) -> None:
        self.convolution, self.side = convolution, (convolution.reach, convolution.reach)
        inputs = convolution.weight.shape[1]
        padded = width + 2 * convolution.reach
        self.rows = convolution.weight.new_zeros(n, inputs, convolution.height, padded)

    def __call__(self, x: Tensor) -> Tensor:
        """The next row of inputs [n, inputs, 1, W] -> its outputs [n, outputs, 1, W]."""
        self.rows.copy_(torch.cat([self.rows[:, :, 1:], functional.pad(x, self.side)], dim=2))
        return functional.conv2d(self.rows, self.convolution.weight, self.convolution.bias)
