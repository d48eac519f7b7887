"""A causal convolution of PixelCNN++ along a row of images, a row or a pixel at a time."""

import torch
from torch import Tensor
from torch.nn import functional

from zoo.pixelcnn_layers import CausalConv


class CachedConv:
    """A row of a causal convolution's inputs, and what the row above it gives to its outputs.

    Args:
        convolution: whose weights are normalised here, once.
        n: number of images.
        width: of the inputs.
        offset: [n, outputs] or [outputs], added to the bias.
    """

    def __init__(
        self, convolution: CausalConv, n: int, width: int, offset: Tensor | float = 0.0
    ) -> None:
        weight = convolution.weight().permute(2, 3, 1, 0)  # [height, breadth, inputs, outputs]
        height, breadth, inputs, outputs = weight.shape
        self._weight = weight[-1].flatten(0, 1).contiguous()
        self._weight_above = weight[0].flatten(0, 1) if height == 2 else None
        self._base = (convolution.bias + offset).view(-1, 1, outputs)
        stride, left = convolution.stride, convolution.left
        row = weight.new_zeros(n, width + breadth - 1, inputs)
        self.inputs = row[:, left : left + width]
        size = (n, width // stride, breadth * inputs)
        self._windows = row.as_strided(size, (row.stride(0), stride * inputs, 1))
        self.prior = self._base.expand(*size[:2], outputs).clone()
        self.found = weight.new_empty(n, outputs)  # at the pixel that was last asked for
        # A pixel takes microseconds: slicing would be a good part of them.
        self.slots, self._seen, self._priors = (
            whole.unbind(1) for whole in (self.inputs, self._windows, self.prior)
        )
        self._halves = [slot.split([inputs // 2, inputs - inputs // 2], 1) for slot in self.slots]

    def begin_row(self) -> None:
        """Makes the row of inputs the one above."""
        if self._weight_above is not None:
            seen = self._windows.flatten(0, 1) @ self._weight_above
            torch.add(self._base, seen.view_as(self.prior), out=self.prior)

    def row(self) -> Tensor:
        """The outputs of the whole row, [n, width, outputs]."""
        seen, prior = self._windows.flatten(0, 1), self.prior.flatten(0, 1)
        return torch.addmm(prior, seen, self._weight).view_as(self.prior)

    def put_both_elu(self, x: Tensor, column: int) -> None:
        """Takes `both_elu(x)` as the inputs of a pixel, x [n, inputs / 2]."""
        first, second = self._halves[column]
        first.copy_(x)
        torch.neg(x, out=second)
        functional.elu(self.slots[column], inplace=True)

    def pixel(self, column: int) -> Tensor:
        """The outputs of a pixel, [n, outputs]: `found`, until another one is asked for."""
        return torch.addmm(self._priors[column], self._seen[column], self._weight, out=self.found)


def both_elu(x: Tensor) -> Tensor:
    """ELU of x and of -x side by side, [..., c] -> [..., 2 c]."""
    return functional.elu(torch.cat([x, -x], dim=-1), inplace=True)
