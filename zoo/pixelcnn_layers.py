"""Causal convolutions in two streams, each computed for a whole image or a pixel at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class ConcatElu(torch.autograd.Function):
    """ELU of x and of -x side by side, several times faster on a CPU than torch's own ELU.

    The backward pass needs the output only, which the convolution that follows keeps anyway:
    half of training's memory would otherwise go into intermediate results.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive, negative = functional.relu(x), functional.relu(-x)
        halves = [positive + torch.exp(-negative), negative + torch.exp(-positive)]
        output = torch.cat(halves, dim=1).sub_(1).to(x.dtype)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        slopes = output.clamp(max=0) + 1
        first, second = (slopes * gradient).chunk(2, dim=1)
        return first - second


def concat_elu(x: Tensor) -> Tensor:
    """Doubles the features: [n, c, ...] -> [n, 2 c, ...]."""
    return ConcatElu.apply(x)


class CausalConv(nn.Module):
    """A convolution with weight normalisation that sees no row below and, if narrow, no right.

    Kernels (2, 3) see the row above and their own; kernels (2, 2) see of both only what is not
    to the right; kernels (1, 1) see one position.

    Source: Salimans and Kingma 2016, arXiv:1602.07868, eq. 2 (weight normalisation).
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], gain: float = 1.0
    ) -> None:
        super().__init__()
        height, width = kernel
        fan_in = inputs * height * width
        self.direction = nn.Parameter(torch.randn(outputs, inputs, height, width))
        self.length = nn.Parameter(torch.full((outputs,), gain))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.kernel = kernel
        self.left = width // 2
        self.padding = (self.left, width - 1 - self.left, height - 1, 0)
        nn.init.normal_(self.direction, std=fan_in**-0.5)

    def weight(self) -> Tensor:
        norm = self.direction.flatten(1).norm(dim=1)
        return self.direction * (self.length / norm).view(-1, 1, 1, 1)

    def forward(self, x: Tensor, cache: "Cache | None" = None) -> Tensor:
        if cache is not None:
            return cache.convolve(self, x)
        return functional.conv2d(functional.pad(x, self.padding), self.weight(), self.bias)


@dataclass
class Cache:
    """What the convolutions of a network have seen of the current row and of the one above.

    Args:
        width: of the image.
        column: where the next input begins: 0 for a whole row, else a single pixel's column.
    """

    width: int
    column: int = 0
    weights: dict[CausalConv, Tensor] = field(default_factory=dict)  # [numbers seen, outputs]
    rows: dict[CausalConv, Tensor] = field(default_factory=dict)  # [n, rows, columns, inputs]

    def convolve(self, convolution: CausalConv, x: Tensor) -> Tensor:
        """Convolves x [n, inputs, 1, w], which begins at `column`, and remembers it."""
        n, inputs, _, length = x.shape
        height, width = convolution.kernel
        if convolution not in self.rows:
            self.weights[convolution] = convolution.weight().permute(2, 3, 1, 0).flatten(0, 2)
            self.rows[convolution] = x.new_zeros(n, height, self.width + width - 1, inputs)
        rows, begin = self.rows[convolution], self.column
        first = begin + convolution.left
        rows[:, -1:, first : first + length] = x.permute(0, 2, 3, 1)
        seen = rows[:, :, begin : begin + length + width - 1].unfold(2, width, 1)
        seen = seen.permute(0, 2, 1, 4, 3).reshape(n * length, -1)  # a matrix: faster than conv2d
        convolved = torch.addmm(convolution.bias, seen, self.weights[convolution])
        return convolved.view(n, 1, length, -1).permute(0, 3, 1, 2)

    def next_row(self) -> None:
        """Makes the current row the one above."""
        for rows in self.rows.values():
            rows[:, 0] = rows[:, -1]


class GatedBlock(nn.Module):
    """Adds a gated, non-linear function of its input (and of another stream) to its input."""

    def __init__(self, filters: int, kernel: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.inner = CausalConv(2 * filters, filters, kernel)
        self.outer = CausalConv(2 * filters, 2 * filters, kernel, gain=0.1)
        self.dropout = dropout

    def forward(self, x: Tensor, other: Tensor | None, cache: Cache | None) -> Tensor:
        hidden = self.inner(concat_elu(x), cache)
        if other is not None:
            hidden = hidden + other
        hidden = concat_elu(hidden)
        if self.training and self.dropout:
            kept = torch.rand_like(hidden) >= self.dropout  # faster on a CPU than torch's own
            hidden = hidden * kept / (1 - self.dropout)
        value, gate = self.outer(hidden, cache).chunk(2, dim=1)
        return x + value * gate.sigmoid()


class PixelNetwork(nn.Module):
    """Gives, at each pixel, numbers that depend on the pixels before it in raster order.

    One stream sees all rows above; the other sees, besides, what is to the left, and is told
    the first stream's findings in every block.

    Args:
        channels: of the image.
        outputs: how many numbers to give at each pixel.
        filters: features of each stream.
        blocks: gated blocks of each stream; each sees two rows further.
        dropout: probability of dropping a feature inside a block.
    """

    def __init__(
        self, channels: int, outputs: int, filters: int, blocks: int, dropout: float
    ) -> None:
        super().__init__()
        inputs = channels + 3  # a channel of ones tells the image from its border, two say where
        self.above_input = CausalConv(inputs, filters, (2, 3))
        self.left_input = CausalConv(inputs, filters, (2, 2))
        self.above_blocks = nn.ModuleList(
            GatedBlock(filters, (2, 3), dropout) for _ in range(blocks)
        )
        self.left_blocks = nn.ModuleList(
            GatedBlock(filters, (2, 2), dropout) for _ in range(blocks)
        )
        self.links = nn.ModuleList(CausalConv(2 * filters, filters, (1, 1)) for _ in range(blocks))
        self.output = CausalConv(2 * filters, outputs, (1, 1), gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled images [n, channels, H, W] -> [n, outputs, H, W]."""
        framed, where = frame(x)
        found = self.look_above(framed[:, :, :-1, 1:], where)
        return self.look_left(framed[:, :, 1:, :-1], where, found)

    def look_above(
        self, shifted: Tensor, where: Tensor, cache: Cache | None = None
    ) -> list[Tensor]:
        """Runs the first stream on an image shifted down by one row; one finding a block."""
        u = self.above_input(torch.cat([shifted, where], dim=1), cache)
        findings = []
        for block, link in zip(self.above_blocks, self.links, strict=True):
            u = block(u, None, cache)
            findings.append(link(concat_elu(u), cache))
        return findings

    def look_left(
        self, shifted: Tensor, where: Tensor, found: Sequence[Tensor], cache: Cache | None = None
    ) -> Tensor:
        """Runs the second stream on an image shifted right by one column."""
        u = self.left_input(torch.cat([shifted, where], dim=1), cache)
        for block, finding in zip(self.left_blocks, found, strict=True):
            u = block(u, finding, cache)
        return self.output(concat_elu(u), cache)


def frame(x: Tensor) -> tuple[Tensor, Tensor]:
    """Images with a channel of ones and a border of zeros, and the coordinates of each pixel.

    Args:
        x: [n, c, H, W].

    Returns:
        [n, c + 1, H + 1, W + 1], the border above and to the left; and [n, 2, H, W] in [-1, 1].
    """
    n, _, height, width = x.shape
    framed = functional.pad(torch.cat([x, torch.ones_like(x[:, :1])], dim=1), (1, 0, 1, 0))
    framed = framed.contiguous(memory_format=torch.channels_last)  # in which a CPU is faster
    sides = [
        torch.linspace(-1, 1, size, dtype=x.dtype, device=x.device) for size in (height, width)
    ]
    where = torch.stack(torch.meshgrid(*sides, indexing="ij")).expand(n, -1, -1, -1)
    return framed, where.contiguous(memory_format=torch.channels_last)
