"""Networks of causal layers: written once, run over a whole image or along with its pixels."""

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.spec import DataSpec
from zoo.masked_layers import CausalLayer, ConvWalk, LayerWalk, MaskedConv, groups

Run = Callable[[nn.Module, Tensor], Tensor]  # a layer over inputs, of images or of a pixel


class Walk(Protocol):
    """A network on its way through n images in raster order: a pixel costs one column of it."""

    def next_row(self) -> None:
        """Goes to the first or the next row."""
        ...

    def at(self, column: int) -> Tensor:
        """Outputs [n, outputs] about a pixel, from those of its channels that were seen."""
        ...

    def see(self, column: int, pixel: Tensor) -> None:
        """Is shown scaled pixels [n, channels]; channels not drawn yet may be anything."""
        ...


class CausalNetwork(nn.Module):
    """Gives outputs [n, outputs, H, W] about every sub-pixel, from those before it.

    Attributes:
        widest: how many numbers a layer gives at a pixel, at most.
        sees_own: whether rows below are told of features that see the whole of their own pixel;
            a walk must then be at a pixel once more when all its channels were seen.
    """

    widest: int
    sees_own = False

    @property
    def cached(self) -> int:
        """How many numbers a walk keeps for one image."""
        raise NotImplementedError

    def forward(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        """From scaled images [n, channels, H, W], and their classes [n] where there are some."""
        raise NotImplementedError

    def walk(self, n: int, labels: Tensor | None) -> Walk:
        """Begins above the first row of n images, of classes [n] where there are some."""
        raise NotImplementedError


class Head(nn.Module):
    """Features to logits, a level's for each channel, which see no later channel.

    Args:
        spec: of images.
        seen: [features], the channel that each belongs to.
        features: of the layer between.

    Source: van den Oord et al. 2016, arXiv:1601.06759, table 1 (the last layers).
    """

    def __init__(self, spec: DataSpec, seen: Tensor, features: int) -> None:
        super().__init__()
        assert spec.levels is not None
        channels = spec.shape[0]
        own = groups(features, channels)
        self.hidden = MaskedConv(seen, own)
        logits = torch.arange(channels).repeat_interleave(spec.levels)
        self.logits = MaskedConv(own, logits, gain=0.1)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        return run(self.logits, functional.relu(run(self.hidden, functional.relu(x))))


def over_images(layer: nn.Module, x: Tensor) -> Tensor:
    """Runs a layer on all of its images at once."""
    return layer(x)


class LayeredNetwork(CausalNetwork):
    """A strict convolution of the image, then layers that refine its features, then logits.

    Args:
        spec: of images.
        first: what the first convolution gives, [m], the channel that each feature belongs to.
        kernel: of the first convolution.
        head: makes logits of the features.
    """

    def __init__(self, spec: DataSpec, first: Tensor, kernel: tuple[int, int], head: Head) -> None:
        super().__init__()
        channels, _, self.width = spec.shape
        self.first = MaskedConv(groups(channels, channels), first, kernel, strict=True)
        self.head = head
        self.widest = max(len(first), len(head.logits.bias))

    def refined(self, found: Tensor, run: Run) -> Tensor:
        """What the first convolution found [n, m, ...] -> features, each layer through `run`."""
        raise NotImplementedError

    def forward(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        return self.head(self.refined(self.first(scaled), over_images), over_images)

    @property
    def layers(self) -> list[CausalLayer]:
        return [layer for layer in self.modules() if isinstance(layer, CausalLayer)]

    @property
    def cached(self) -> int:
        return self.width * sum(layer.kept for layer in self.layers)

    def walk(self, n: int, labels: Tensor | None) -> "LayeredWalk":
        return LayeredWalk(self, n)


class LayeredWalk:
    """A layered network on its way, as a `Walk`."""

    def __init__(self, network: LayeredNetwork, n: int) -> None:
        self.network = network
        self.layers: dict[nn.Module, LayerWalk] = {
            layer: layer.walk(n, network.width) for layer in network.layers
        }
        self.first = cast(ConvWalk, self.layers[network.first])

    def next_row(self) -> None:
        for layer in self.layers.values():
            layer.next_row()

    def at(self, column: int) -> Tensor:
        run = self.over_pixel(column)
        return self.network.head(self.network.refined(self.first.at(column), run), run)

    def over_pixel(self, column: int) -> Run:
        """Runs layers on one pixel of the current row."""
        return lambda layer, x: self.layers[layer](column, x)

    def see(self, column: int, pixel: Tensor) -> None:
        self.first.see(column, pixel)
