"""PixelCNN++ a pixel at a time: of every layer one row is kept, so that a pixel costs one column.

The stream that sees the rows above is run a row at a time, the other one a pixel at a time, and a
lower scale at its own rows and columns only. Arrays here have their features last.

Source: Ramachandran et al. 2017, arXiv:1704.06001 (what is cached).
"""

from typing import cast

import torch
from torch import Tensor

from zoo.cached_conv import CachedConv, both_elu
from zoo.pixelcnn_layers import GatedBlock
from zoo.pixelcnn_network import Level, Lower, Pair, PixelNetwork, shifted


class CachedBlock:
    """A gated block of either stream; short-cuts come to it as `both_elu` of them."""

    def __init__(self, block: GatedBlock, n: int, width: int, labels: Tensor | None) -> None:
        label, link = block.label, block.link
        self.inner = CachedConv(block.inner, n, width, 0.0 if link is None else link.bias)
        self.outer = CachedConv(block.outer, n, width, 0.0 if label is None else label(labels))
        self._value, self._gate = self.outer.found.chunk(2, dim=1)
        self.links: list[Tensor] = []
        if link is not None:
            # Told [a, b], the block has [elu(a), elu(b), elu(-a), elu(-b)].
            weight = link.weight().flatten(1).T.unflatten(0, (2, -1, len(link.bias)))
            self.links = [part.flatten(0, 1) for part in weight.unbind(1)]

    def row(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        """The block's outputs for a row of inputs, both [n, width, filters]."""
        self.inner.begin_row()
        self.outer.begin_row()
        self.inner.inputs.copy_(both_elu(x))
        hidden = self.inner.row()
        if shortcut is not None:
            hidden += shortcut @ self.links[-1]
        self.outer.inputs.copy_(both_elu(hidden))
        value, gate = self.outer.row().chunk(2, dim=2)
        return torch.addcmul(x, value, gate.sigmoid())

    def begin_row(self, above: Tensor) -> None:
        """Prepares for the pixels of a row, told what the stream above has found there."""
        self.inner.begin_row()
        self.outer.begin_row()
        self.inner.prior += both_elu(above) @ self.links[0]

    def pixel(self, x: Tensor, column: int, shortcut: Tensor | None) -> Tensor:
        """The block's outputs for the inputs of a pixel, both [n, filters]."""
        self.inner.put_both_elu(x, column)
        hidden = self.inner.pixel(column)
        if shortcut is not None:
            hidden.addmm_(shortcut, self.links[-1])
        self.outer.put_both_elu(hidden, column)
        self.outer.pixel(column)
        return torch.addcmul(x, self._value, self._gate.sigmoid_())


class CachedPair:
    """A block of each stream: the first for whole rows, the second for pixels."""

    def __init__(self, pair: Pair, n: int, width: int, labels: Tensor | None) -> None:
        self.above = CachedBlock(pair.above, n, width, labels)
        self.left = CachedBlock(pair.left, n, width, labels)

    def row(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        x = self.above.row(x, shortcut)
        self.left.begin_row(x)
        return x


class CachedLevel:
    """One scale and those below it, for rows of `width` pixels."""

    def __init__(self, level: Level, n: int, width: int, labels: Tensor | None) -> None:
        self.down, self.up = (
            [CachedPair(cast(Pair, pair), n, width, labels) for pair in pairs]
            for pairs in (level.down, level.up)
        )
        lower = level.lower
        self.lower = None if lower is None else CachedLower(lower, n, width, labels)

    def row(self, x: Tensor, row: int) -> Tensor:
        """Runs the first stream on [n, width, filters], and tells the second."""
        kept = []
        for pair in self.down:
            x = pair.row(x, None)
            kept.append(pair.above.inner.inputs)
        if self.lower is not None:
            kept.append(both_elu(x))
            x = self.lower.row(x, row)
        for pair in self.up:
            x = pair.row(x, kept.pop())
        return x

    def pixel(self, x: Tensor, row: int, column: int) -> Tensor:
        """Runs the second stream on [n, filters]."""
        kept = []
        for pair in self.down:
            x = pair.left.pixel(x, column, None)
            kept.append(pair.left.inner.slots[column])
        if self.lower is not None:
            kept.append(both_elu(x))
            x = self.lower.pixel(x, row, column)
        for pair in self.up:
            x = pair.left.pixel(x, column, kept.pop())
        return x


class CachedLower:
    """The level below, asked at even rows and columns; its answers wait for the others."""

    def __init__(self, lower: Lower, n: int, width: int, labels: Tensor | None) -> None:
        self.reduce_above = CachedConv(lower.reduce_above, n, width)
        self.reduce_left = CachedConv(lower.reduce_left, n, width)
        self.level = CachedLevel(lower.level, n, width // 2, labels)
        self.raise_above = CachedConv(lower.raise_above, n, width // 2)
        self.raise_left = CachedConv(lower.raise_left, n, width // 2)
        filters = len(lower.reduce_left.bias)
        self.above, self.left = self.reduce_above.inputs.new_zeros(2, n, 2, width, filters)

    def row(self, x: Tensor, row: int) -> Tensor:
        if row % 2 == 0:
            self.reduce_above.begin_row()
            self.reduce_left.begin_row()
        self.reduce_above.inputs.copy_(x)
        if row % 2 == 0:
            found = self.level.row(self.reduce_above.row(), row // 2)
            self.raise_above.inputs.copy_(found)
            raised = self.raise_above.row().unflatten(2, (-1, 2, 2))  # [..., rows, columns]
            self.above.unflatten(2, (-1, 2)).copy_(raised.permute(0, 3, 1, 4, 2))
        return self.above[:, row % 2]

    def pixel(self, x: Tensor, row: int, column: int) -> Tensor:
        self.reduce_left.slots[column].copy_(x)
        if row % 2 == 0 and column % 2 == 0:
            half = column // 2
            found = self.level.pixel(self.reduce_left.pixel(half), row // 2, half)
            self.raise_left.slots[half].copy_(found)
            raised = self.raise_left.pixel(half).unflatten(1, (-1, 2, 2))
            self.left[:, :, column : column + 2] = raised.permute(0, 2, 3, 1)
        return self.left[:, row % 2, column]


class CachedNetwork:
    """The whole network over n images, which are filled in as they are drawn.

    A row is worked on in memory of its own, the same for each, so that its work can be recorded:
    between `take_row` and `leave_row` nothing depends on the row but its phase.

    Args:
        network: in evaluation mode.
        images: [n, channels, H, W], scaled; what is not known yet may hold anything finite.
        labels: [n] classes, None without.

    Attributes:
        phases: the scales below take part in a row or not, in turn every so many rows.
    """

    def __init__(self, network: PixelNetwork, images: Tensor, labels: Tensor | None) -> None:
        n, _, _, width = images.shape
        self.images = images
        self.phases = 2 ** (network.level.scales - 1)
        self._down, self._right = (part.permute(0, 2, 3, 1) for part in shifted(images))
        self._above_input = CachedConv(network.above_input, n, width)
        self._left_input = CachedConv(network.left_input, n, width)
        self._level = CachedLevel(network.level, n, width, labels)
        self._output = network.output.weight().flatten(1).T.contiguous()
        self._bias = network.output.bias
        self._phase = 0
        self._pixels = images[:, :, 0].clone()
        self._seen_above, self._seen_left = self._down[:, 0].clone(), self._right[:, 0].clone()

    def take_row(self, row: int) -> None:
        """Goes to a row; all rows above are filled in."""
        self._phase = row % self.phases
        self._pixels.copy_(self.images[:, :, row])
        self._seen_above.copy_(self._down[:, row])
        self._seen_left.copy_(self._right[:, row])

    def begin_row(self) -> None:
        """Must be called before the row's first pixel."""
        self._above_input.begin_row()
        self._left_input.begin_row()
        self._above_input.inputs.copy_(self._seen_above)
        self._level.row(self._above_input.row(), self._phase)

    def features(self, column: int) -> Tensor:
        """[n, filters] at a pixel; each must be asked for once, in raster order."""
        self._left_input.slots[column].copy_(self._seen_left[:, column])
        return self._level.pixel(self._left_input.pixel(column), self._phase, column)

    def outputs(self, features: Tensor) -> Tensor:
        """The network's outputs, [n, outputs], given the features of a pixel."""
        return torch.addmm(self._bias, both_elu(features), self._output)

    def fill(self, column: int, drawn: Tensor) -> None:
        """Fills in a pixel [n, channels]."""
        channels = drawn.shape[1]
        self._pixels[:, :, column] = drawn
        if column + 1 < self._seen_left.shape[1]:
            self._seen_left[:, column + 1, :channels] = drawn

    def leave_row(self, row: int) -> None:
        """Puts the row's pixels into the images."""
        self.images[:, :, row] = self._pixels
        if row + 1 < self._down.shape[1]:
            self._down[:, row + 1, :, : self._pixels.shape[1]] = self._pixels.transpose(1, 2)


def kept_numbers(network: PixelNetwork, shape: tuple[int, ...]) -> int:
    """How many numbers are kept for one image [channels, H, W] while it is drawn."""
    channels, height, width = shape
    filters = len(network.left_input.bias)
    images = (3 * channels + 6) * (height + 1) * width  # and the row in hand
    return images + 2 * filters * width + _kept(network.level, filters, width)


def _kept(level: Level, filters: int, width: int) -> int:
    # A block keeps 2 + 1 of its inner and 2 + 2 of its outer convolution: inputs, and what comes
    # from above. On the way to the scale below and back, 3 + 5, and 4 that wait.
    own = 14 * (len(level.down) + len(level.up)) * filters * width
    if level.lower is None:
        return own
    return own + 12 * filters * width + _kept(level.lower.level, filters, width // 2)
