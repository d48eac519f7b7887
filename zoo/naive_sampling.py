"""The plain way to draw an image: the whole network anew for every pixel and channel."""

from collections.abc import Iterator
from itertools import product
from typing import Protocol

import torch
from torch import Tensor


class PixelByPixel(Protocol):
    """Conditionals of images that can be drawn a pixel at a time.

    Attributes:
        turns: how often the network must run for one pixel: once, or once for each channel.
    """

    turns: int

    def outputs(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        """The network's findings [n, outputs, H, W] about scaled images [n, C, H, W]."""
        ...

    def pixel(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Scaled pixels [n, C] from findings [n, outputs] and uniform numbers [n, K]."""
        ...


def pixels_naively(
    conditionals: PixelByPixel,
    uniform: Tensor,
    known: Tensor,
    rows: int = 0,
    labels: Tensor | None = None,
) -> Iterator[Tensor]:
    """Draws images [n, C, H, W] as `Conditionals.draw` does; gives them after every pixel.

    Args:
        conditionals: what to draw from.
        uniform: [n, K, H, W] numbers.
        known: [n, C, H, W] scaled images.
        rows: how many of their rows are kept.
        labels: [n] classes, None for a model without.
    """
    x = known.clone()
    x[:, :, rows:] = 0
    height, width = x.shape[2:]
    for row, column in product(range(rows, height), range(width)):
        for turn in range(conditionals.turns):
            outputs = conditionals.outputs(x, labels)[:, :, row, column]
            drawn = conditionals.pixel(outputs, uniform[:, :, row, column])
            x[:, turn:, row, column] = drawn[:, turn:]
        yield x


@torch.no_grad()
def draw_naively(
    conditionals: PixelByPixel,
    uniform: Tensor,
    known: Tensor,
    rows: int = 0,
    labels: Tensor | None = None,
) -> Tensor:
    """Scaled images [n, C, H, W], all their pixels drawn; arguments as for `pixels_naively`."""
    x = known
    for drawn in pixels_naively(conditionals, uniform, known, rows, labels):
        x = drawn
    return x
