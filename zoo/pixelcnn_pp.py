"""PixelCNN++: every coordinate given those before it, as a mixture of logistics."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from benchmark.spec import DataSpec, Log
from zoo.layers import Scaling, integer_dtype, mlp, setting
from zoo.logistic_mixture import (
    LogisticMixture,
    mixture_from,
    parameter_count,
    spread_evenly,
)
from zoo.pixelcnn_layers import Cache, PixelNetwork, frame
from zoo.train import descend, linear_decay, scaled_steps
from zoo.train import train as run_training

VALIDATION_EXAMPLES = 500
CHUNK_NUMBERS = 2_000_000  # activations of one layer: bounds memory however many are asked for


class PixelCNNpp(nn.Module):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}), over pixels in raster order or coordinates.

    Images: two streams of gated residual blocks at a single scale (the paper's down-sampling is
    left out), discretised mixtures, channels conditioned linearly. Points: one network for each
    coordinate, continuous mixtures.

    Args:
        steps: of training, at budget 1.
        filters: features of each stream (images), units of a hidden layer (points).
        blocks: gated blocks of each stream (images), hidden layers (points).
        mixtures: number of logistics in each conditional.
        dropout: inside the gated blocks.
        weight_decay: fraction of the learning rate that each step shrinks weights by.
        ema_decay: of the averaged weights that are kept.

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
        mixtures: int | None = None,
        dropout: float | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.steps = setting(steps, spec, points=4_000, small=1_500, large=10_000)
        self.batch_size = setting(batch_size, spec, points=256, small=32, large=32)
        self.learning_rate = setting(learning_rate, spec, points=3e-3, small=3e-3, large=2e-3)
        self.weight_decay = setting(weight_decay, spec, points=0.0, small=0.0, large=0.0)
        self.ema_decay = setting(ema_decay, spec, points=0.995, small=0.995, large=0.999)
        self.mixtures = setting(mixtures, spec, points=20, small=5, large=10)
        self.filters = setting(filters, spec, points=64, small=32, large=32)
        blocks = setting(blocks, spec, points=2, small=3, large=4)
        dropout = setting(dropout, spec, points=0.0, small=0.5, large=0.1)
        self.scaling = Scaling(spec)
        self.network: PixelNetwork | CoordinateNetworks
        if spec.is_image:
            outputs = parameter_count(spec.shape[0], self.mixtures)
            self.network = PixelNetwork(spec.shape[0], outputs, self.filters, blocks, dropout)
            spread_evenly(self.network.output.bias, spec.shape[0], self.mixtures, reach=1.0)
        else:
            self.network = CoordinateNetworks(spec.dims, self.filters, blocks, self.mixtures)
        self.eval()

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-mass of integer images, or log-density of points: [n] nats."""
        return torch.cat([self._log_prob(part) for part in x.split(self._chunk())])

    def sample(self, n: int) -> Tensor:
        """Draws [n, *shape]; a pixel costs one column of the network, not a whole image."""
        numbers = self.spec.shape[0] + 1 if self.spec.is_image else 2 * self.spec.dims
        positions = self.spec.shape[1:]
        sizes = [min(self._chunk(), n - start) for start in range(0, n, self._chunk())] or [0]
        with torch.no_grad():
            return torch.cat([self.sample_from(self._uniform(size)) for size in sizes])

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        steps = scaled_steps(self.steps, budget)
