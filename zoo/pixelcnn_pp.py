"""PixelCNN++: every pixel given those before it, as a mixture of logistics."""

from functools import partial

import torch
from torch import Tensor

from benchmark.spec import DataSpec
from zoo.autoregressive import Autoregressive, Conditionals
from zoo.coordinates import CoordinateConditionals
from zoo.layers import setting
from zoo.logistic_mixture import LogisticMixture, mixture_from, parameter_count, spread_evenly
from zoo.pixelcnn_cache import CachedNetwork, kept_numbers
from zoo.pixelcnn_layers import initialise_from_data
from zoo.pixelcnn_network import PixelNetwork
from zoo.recorded import Recorded
from zoo.threads import threads_for

PAPER = {  # the size in the authors' code, for 32x32 RGB images
    "filters": 160,
    "blocks": 5,
    "scales": 3,
    "mixtures": 10,
    "dropout": 0.5,
    "learning_rate": 1e-3,
    "ema_decay": 0.9995,
    "batch_size": 128,
}


class PixelCNNpp(Autoregressive):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}), over pixels in raster order or coordinates.

    Images have discretised mixtures, their channels conditioned linearly; points continuous ones.
    `PixelCNNpp(spec, **PAPER)` has the size of the paper.

    Args:
        spec: of the data.
        steps: of training, at budget 1.
        batch_size: of training.
        filters: features of each stream (images), units of a hidden layer (points).
        blocks: gated blocks of each stream and scale (images), hidden layers (points).
        scales: each has half the height and width of the one before (images).
        mixtures: number of logistics in each conditional.
        dropout: inside the gated blocks.
        learning_rate: of Adam.
        ema_decay: of the averaged weights that are kept.
        classes: of the labels that images are given with, None without.

    Source: Salimans et al. 2017, arXiv:1701.05517.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        filters: int | None = None,
        blocks: int | None = None,
        scales: int | None = None,
        mixtures: int | None = None,
        dropout: float | None = None,
        learning_rate: float | None = None,
        ema_decay: float | None = None,
        classes: int | None = None,
    ) -> None:
        filters = setting(filters, spec, points=32, small=32, large=32)
        blocks = setting(blocks, spec, points=2, small=3, large=2)
        mixtures = setting(mixtures, spec, points=60, small=5, large=10)
        conditionals: Conditionals
        if spec.is_image:
            conditionals = PixelConditionals(
                spec,
                filters=filters,
                blocks=blocks,
                scales=setting(scales, spec, points=1, small=1, large=3),
                mixtures=mixtures,
                dropout=setting(dropout, spec, points=0.0, small=0.3, large=0.1),
                classes=classes,
            )
        elif classes is None:
            conditionals = CoordinateConditionals(spec, filters, blocks, mixtures)
        else:
            raise ValueError("classes are for images: leave them out for points")
        super().__init__(
            spec,
            conditionals,
            steps=setting(steps, spec, points=4_000, small=1_000, large=10_000),
            batch_size=setting(batch_size, spec, points=256, small=32, large=32),
            learning_rate=setting(learning_rate, spec, points=3e-3, small=6e-3, large=2e-3),
            ema_decay=setting(ema_decay, spec, points=0.995, small=0.995, large=0.999),
            classes=classes,
        )


class PixelConditionals(Conditionals):
    """A discretised mixture at each pixel, given the pixels before it.

    Args:
        spec: of the images.
        filters: features of each stream.
        blocks: gated blocks of each stream and scale.
        scales: how many.
        mixtures: number of logistics.
        dropout: inside the blocks.
        classes: number of labels, None without.

    Raises:
        ValueError: the images cannot be halved so often.
    """

    turns = 1  # the channels of a pixel are drawn together

    def __init__(
        self,
        spec: DataSpec,
        *,
        filters: int,
        blocks: int,
        scales: int,
        mixtures: int,
        dropout: float,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        check_scales(spec, scales)
        self.spec, self.filters, self.mixtures = spec, filters, mixtures
        channels = spec.shape[0]
        self.noise_shape = (1 + channels, *spec.shape[1:])
        outputs = parameter_count(channels, mixtures)
        self.network = PixelNetwork(channels, outputs, filters, blocks, scales, dropout, classes)
        self.widest, self.cached = 2 * filters, kept_numbers(self.network, spec.shape)
        spread_evenly(self.network.output.bias, channels, mixtures, reach=1.0)

    def prepare(self, scaled: Tensor, labels: Tensor | None = None) -> None:
        initialise_from_data(self.network, scaled, labels)

    def mixture(self, outputs: Tensor) -> LogisticMixture:
        return mixture_from(outputs, self.spec.shape[0], self.mixtures, self.spec.levels)

    def log_prob(self, scaled: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.mixture(self.outputs(scaled, labels)).log_prob(scaled)

    def outputs(self, scaled: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the mixture at each pixel is read off, [n, outputs, H, W]."""
        return self.network(scaled, labels)

    def pixel(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Scaled pixels [n, channels] from outputs and uniform numbers [n, 1 + channels]."""
        return self.mixture(outputs).sample(uniform)

    @torch.no_grad()
    def draw(
        self, uniform: Tensor, known: Tensor, rows: int = 0, labels: Tensor | None = None
    ) -> Tensor:
        cache = CachedNetwork(self.network, known.clone(), labels)
        recorded = Recorded(known.device)
        noise = uniform[:, :, 0].clone()
        _, height, width = self.spec.shape
        multiplications = len(known) * self.filters**2  # of a pixel, in a layer

        def run_row(is_drawn: bool) -> None:
            with threads_for(multiplications * width):
                cache.begin_row()
            with threads_for(multiplications):
                for column in range(width):
                    features = cache.features(column)
                    if is_drawn:
                        outputs = cache.outputs(features)
                        cache.fill(column, self.pixel(outputs, noise[:, :, column]))

        for row in range(height):
            cache.take_row(row)
            noise.copy_(uniform[:, :, row])
            is_drawn = row >= rows
            recorded((row % cache.phases, is_drawn), partial(run_row, is_drawn))
            cache.leave_row(row)
        return cache.images


def check_scales(spec: DataSpec, scales: int) -> None:
    """Raises ValueError unless the images can be halved scales - 1 times."""
    if scales < 1:
        raise ValueError(f"scales must be positive, got {scales}")
    height, width = spec.shape[1:]
    if height % 2 ** (scales - 1) or width % 2 ** (scales - 1):
        raise ValueError(
            f"{scales} scales halve an image {scales - 1} times, and {height}x{width} cannot be: "
            "give fewer scales, or images whose sides are divisible by "
            f"{2 ** (scales - 1)}"
        )
