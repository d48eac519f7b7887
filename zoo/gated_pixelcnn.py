"""Gated PixelCNN: a vertical and a horizontal stack of gated convolutions, no blind spot."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.spec import DataSpec
from zoo.autoregressive import Autoregressive
from zoo.categorical import CategoricalConditionals
from zoo.causal_network import Head, LayeredNetwork, LayeredWalk, Run, over_images
from zoo.layers import image_setting
from zoo.masked_layers import MaskedConv, RowConv, RowConvWalk, groups

FIRST_KERNEL = (4, 7)  # 7x7 without the three rows below
KERNEL = (2, 3)  # 3x3 without the row below


class GatedPixelCNN(Autoregressive):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}) over the sub-pixels of images in raster order.

    Args:
        steps: of training, at budget 1.
        filters: features of each stack (p).
        blocks: gated layers of each stack.
        ema_decay: of the averaged weights that are kept.
        classes: how many, for p(x given y); None for a model that takes no labels.

    Source: van den Oord et al. 2016, arXiv:1606.05328.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        filters: int | None = None,
        blocks: int | None = None,
        learning_rate: float | None = None,
        ema_decay: float | None = None,
        classes: int | None = None,
    ) -> None:
        filters = image_setting(filters, spec, small=32, large=32)
        blocks = image_setting(blocks, spec, small=4, large=7)
        network = GatedNetwork(spec, filters, blocks, classes)
        super().__init__(
            spec,
            CategoricalConditionals(spec, network),
            steps=image_setting(steps, spec, small=1_000, large=10_000),
            batch_size=image_setting(batch_size, spec, small=32, large=32),
            learning_rate=image_setting(learning_rate, spec, small=2e-3, large=1e-3),
            ema_decay=image_setting(ema_decay, spec, small=0.99, large=0.999),
            classes=classes,
        )


class GatedNetwork(LayeredNetwork):
    """A vertical stack sees the rows above; a horizontal one its own row and what that one found.

    The vertical stack is given the image shifted down by a row, so it may see all of each row.

    Args:
        spec: of images.
        filters: features of each stack (p); before a gate there are twice as many.
        blocks: layers of each stack.
        classes: how many, None for none.

    Source: figure 2, and eq. 4 for classes.
    """

    def __init__(self, spec: DataSpec, filters: int, blocks: int, classes: int | None) -> None:
        own = groups(filters, spec.shape[0])
        both = own.repeat(2)
        super().__init__(spec, both, (1, FIRST_KERNEL[1]), Head(spec, own, filters))
        first, later = RowConv(spec.shape[0], 2 * filters, FIRST_KERNEL), range(blocks - 1)
        self.above = nn.ModuleList(
            [first, *(RowConv(filters, 2 * filters, KERNEL) for _ in later)]
        )
        self.links = nn.ModuleList(nn.Conv2d(2 * filters, 2 * filters, 1) for _ in range(blocks))
        self.left = nn.ModuleList(MaskedConv(own, both, (1, KERNEL[1])) for _ in later)
        self.mixers = nn.ModuleList(MaskedConv(own, own) for _ in range(blocks))
        # Of each class, for both stacks of every layer; zero at first.
        shifts = torch.zeros(classes or 0, blocks, 2, 2 * filters)
        self.class_shifts = nn.Parameter(shifts) if classes is not None else None

    def forward(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        shifted = functional.pad(scaled, (0, 0, 1, 0))[:, :, :-1]
        found = self.look_above(shifted, labels, over_images)
        return self.look_left(self.first(scaled), found, over_images)

    def look_above(self, x: Tensor, labels: Tensor | None, run: Run) -> list[Tensor]:
        """Rows [n, channels, h, W] -> what each layer tells the other stack, [n, 2 p, h, W]."""
        shifts = self._shifts(labels, x)
        found = []
        for convolution, link, (own, other) in zip(self.above, self.links, shifts, strict=True):
            hidden = run(convolution, x) + own
            found.append(link(hidden) + other)
            x = gated(hidden)
        return found

    def _shifts(self, labels: Tensor | None, x: Tensor) -> Tensor:
        """Of each layer and both of its stacks, [layers, 2, n, 2 p, 1, 1]."""
        if self.class_shifts is None:
            return x.new_zeros(len(self.above), 2, 1, 1, 1, 1)
        return self.class_shifts[labels].permute(1, 2, 0, 3)[..., None, None]

    def look_left(self, found: Tensor, above: Sequence[Tensor], run: Run) -> Tensor:
        """What the first convolution found [n, 2 p, ...] and each layer of the other stack."""
        first, *later = above
        x = run(self.mixers[0], gated(found + first))
        for convolution, mixer, told in zip(self.left, self.mixers[1:], later, strict=True):
            x = x + run(mixer, gated(run(convolution, x) + told))
        return self.head(x, run)

    def walk(self, n: int, labels: Tensor | None) -> "GatedWalk":
        return GatedWalk(self, n, labels)


class GatedWalk(LayeredWalk):
    """A gated network on its way: the vertical stack runs once for each row."""

    def __init__(self, network: GatedNetwork, n: int, labels: Tensor | None) -> None:
        super().__init__(network, n)
        self.gated, self.labels = network, labels
        self.above = {
            layer: RowConvWalk(cast(RowConv, layer), n, network.width) for layer in network.above
        }

    def next_row(self) -> None:
        above = self.first.row().transpose(1, 2).unsqueeze(2)  # [n, channels, 1, W]
        self.found = self.gated.look_above(
            above, self.labels, lambda layer, x: self.above[layer](x)
        )
        super().next_row()

    def at(self, column: int) -> Tensor:
        told = [found[:, :, 0, column] for found in self.found]
        return self.gated.look_left(self.first.at(column), told, self.over_pixel(column))


def gated(x: Tensor) -> Tensor:
    """Values and gates [n, 2 p, ...] -> [n, p, ...]; eq. 2."""
    value, gate = x.chunk(2, dim=1)
    return value.tanh() * gate.sigmoid()
