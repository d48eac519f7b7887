"""The network of PixelCNN++: two streams of gated blocks over several scales."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.pixelcnn_layers import ABOVE, LEFT, CausalConv, GatedBlock, concat_elu

Streams = tuple[Tensor, Tensor]  # what sees all rows above; what sees, besides, the left


class PixelNetwork(nn.Module):
    """Gives, at each pixel, numbers that depend on the pixels before it in raster order.

    One stream sees all rows above; the other sees, besides, what is to the left, and is told
    the first stream's findings in every block.

    Args:
        channels: of the image.
        outputs: how many numbers to give at each pixel.
        filters: features of each stream.
        blocks: gated blocks of each stream at each scale on the way down; each sees two
            positions further.
        scales: how many, each of half the height and width of the one before; with one there is
            a way down only.
        dropout: probability of dropping a feature inside a block.
        classes: number of labels, None without.

    Source: Salimans et al. 2017, arXiv:1701.05517, section 2 and figure 2; the numbers of blocks
    on the way up are those of the authors' code.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        filters: int,
        blocks: int,
        scales: int,
        dropout: float,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        inputs = channels + 3  # a channel of ones tells the image from its border, two say where
        self.above_input = CausalConv(inputs, filters, ABOVE)
        self.left_input = CausalConv(inputs, filters, LEFT)
        up = 0 if scales == 1 else blocks + 1
        self.level = Level(filters, blocks, up, scales, dropout, classes)
        self.output = CausalConv(2 * filters, outputs, (1, 1), gain=0.1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scaled images [n, channels, H, W] and labels [n] -> [n, outputs, H, W]."""
        shifted_down, shifted_right = shifted(x)
        streams = self.above_input(shifted_down), self.left_input(shifted_right)
        _, left = self.level(streams, labels)
        return self.output(concat_elu(left))


class Pair(nn.Module):
    """A gated block of each stream; the second is told what the first has found."""

    def __init__(
        self, filters: int, dropout: float, classes: int | None, has_shortcut: bool
    ) -> None:
        super().__init__()
        told = int(has_shortcut)
        self.above = GatedBlock(filters, ABOVE, dropout, told, classes)
        self.left = GatedBlock(filters, LEFT, dropout, 1 + told, classes)

    def forward(
        self, streams: Streams, shortcut: Streams | None, labels: Tensor | None
    ) -> Streams:
        above, left = streams
        if shortcut is None:
            above = self.above(above, None, labels)
            return above, self.left(left, above, labels)
        above = self.above(above, shortcut[0], labels)
        return above, self.left(left, torch.cat([above, shortcut[1]], dim=1), labels)


class Level(nn.Module):
    """One scale: blocks, the scales below it, and blocks that are told what the first ones found.

    Args:
        filters: features of each stream.
        blocks: pairs of blocks on the way down.
        up: pairs of blocks on the way up.
        scales: this one and those below.
        dropout: inside a block.
        classes: number of labels, None without.
    """

    def __init__(
        self,
        filters: int,
        blocks: int,
        up: int,
        scales: int,
        dropout: float,
        classes: int | None,
    ) -> None:
        super().__init__()
        self.scales = scales
        self.down = nn.ModuleList(Pair(filters, dropout, classes, False) for _ in range(blocks))
        self.lower: Lower | None = None
        if scales > 1:
            # The lowest scale starts its way up with its last findings: a short-cut less.
            lower_up = blocks if scales == 2 else blocks + 1
            below = Level(filters, blocks, lower_up, scales - 1, dropout, classes)
            self.lower = Lower(filters, below)
        self.up = nn.ModuleList(Pair(filters, dropout, classes, True) for _ in range(up))

    def forward(self, streams: Streams, labels: Tensor | None) -> Streams:
        kept = [streams]
        for pair in self.down:
            kept.append(pair(kept[-1], None, labels))
        streams = kept.pop() if self.lower is None else self.lower(kept[-1], labels)
        for pair in self.up:
            streams = pair(streams, kept.pop(), labels)
        return streams


class Lower(nn.Module):
    """A level at half the height and width, with the way down to it and up again.

    What it finds at (i, j) reaches (2i, 2j) to (2i + 1, 2j + 1). On the way up each position has
    the features of these four: a transposed convolution of stride 2, written as one of stride 1.
    """

    def __init__(self, filters: int, level: Level) -> None:
        super().__init__()
        self.reduce_above = CausalConv(filters, filters, ABOVE, stride=2)
        self.reduce_left = CausalConv(filters, filters, LEFT, stride=2)
        self.level = level
        self.raise_above = CausalConv(filters, 4 * filters, (1, 3))
        self.raise_left = CausalConv(filters, 4 * filters, (1, 1))

    def forward(self, streams: Streams, labels: Tensor | None) -> Streams:
        above, left = streams
        reduced = self.reduce_above(above), self.reduce_left(left)
        above, left = self.level(reduced, labels)
        raised = self.raise_above(above), self.raise_left(left)
        return functional.pixel_shuffle(raised[0], 2), functional.pixel_shuffle(raised[1], 2)


def shifted(x: Tensor) -> Streams:
    """Images as the two streams take them: shifted down by a row, shifted right by a column.

    Args:
        x: [n, c, H, W].

    Returns:
        Twice [n, c + 3, H, W]: the image, ones where there is an image, and row and column in
        [-1, 1], which are not shifted.
    """
    n, _, height, width = x.shape
    framed = functional.pad(torch.cat([x, torch.ones_like(x[:, :1])], dim=1), (1, 0, 1, 0))
    sides = [
        torch.linspace(-1, 1, size, dtype=x.dtype, device=x.device) for size in (height, width)
    ]
    where = torch.stack(torch.meshgrid(*sides, indexing="ij")).expand(n, -1, -1, -1)
    down, right = (
        torch.cat([part, where], dim=1).contiguous(memory_format=torch.channels_last)
        for part in (framed[:, :, :-1, 1:], framed[:, :, 1:, :-1])
    )  # channels last: in which a CPU is faster
    return down, right
