"""PixelCNN++: every coordinate given those before it, as a mixture of logistics."""

import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.spec import DataSpec, Log
from zoo.layers import Scaling, mlp, setting
from zoo.logistic_mixture import LogisticMixture, mixture_from, parameter_count, spread_evenly
from zoo.pixelcnn_layers import Cache, PixelNetwork, frame
from zoo.train import adam, descend, linear_decay, scaled_steps
from zoo.train import train as run_training

VALIDATION_NUMBERS = 400_000  # coordinates: enough of them to choose by, however large the images
CHUNK_NUMBERS = 2_000_000  # in one layer's output: bounds memory however many are asked about
CHUNK_SAMPLES = 1_000  # images drawn at once; the caches hold a few of their rows


class PixelCNNpp(nn.Module):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}), over pixels in raster order or coordinates.

    Images have discretised mixtures, their channels conditioned linearly; points continuous ones.

    Args:
        steps: of training, at budget 1.
        filters: features of each stream (images), units of a hidden layer (points).
        blocks: gated blocks of each stream (images), hidden layers (points).
        mixtures: number of logistics in each conditional.
        dropout: inside the gated blocks.
        ema_decay: of the averaged weights that are kept.

    Source: Salimans et al. 2017, arXiv:1701.05517, at a single scale: the down-sampling of
    section 2.3 and its short-cuts are left out.
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
        ema_decay: float | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.steps = setting(steps, spec, points=4_000, small=1_000, large=10_000)
        self.batch_size = setting(batch_size, spec, points=256, small=32, large=32)
        self.learning_rate = setting(learning_rate, spec, points=3e-3, small=6e-3, large=2e-3)
        self.ema_decay = setting(ema_decay, spec, points=0.995, small=0.995, large=0.999)
        filters = setting(filters, spec, points=32, small=32, large=32)
        blocks = setting(blocks, spec, points=2, small=3, large=4)
        mixtures = setting(mixtures, spec, points=60, small=5, large=10)
        dropout = setting(dropout, spec, points=0.0, small=0.3, large=0.1)
        self.scaling = Scaling(spec)
        self.conditionals: PixelConditionals | CoordinateConditionals
        if spec.is_image:
            self.conditionals = PixelConditionals(spec, filters, blocks, mixtures, dropout)
        else:
            self.conditionals = CoordinateConditionals(spec, filters, blocks, mixtures)
        self._chunk = max(1, CHUNK_NUMBERS // (math.prod(spec.shape[1:]) * 2 * filters))
        self.eval()

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-mass of integer images or log-density of points, [n] nats."""
        return torch.cat([self._log_prob(part) for part in x.split(self._chunk)])

    def _log_prob(self, x: Tensor) -> Tensor:
        volume = 0.0 if self.spec.is_image else self.scaling.scale.log().sum()
        return self.conditionals.log_prob(self.scaling(x)) - volume

    def sample(self, n: int) -> Tensor:
        """Draws [n, *shape]; each pixel costs one column of the network, not the whole image."""
        sizes = [min(CHUNK_SAMPLES, n - start) for start in range(0, n, CHUNK_SAMPLES)] or [0]
        with torch.no_grad():
            return torch.cat([self._draw(size) for size in sizes])

    def _draw(self, n: int) -> Tensor:
        shape = (n, *self.conditionals.noise_shape)
        uniform = torch.rand(shape, device=self.scaling.scale.device)
        return self.scaling.quantised(self.scaling.inverse(self.conditionals.sample(uniform)))

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        steps = scaled_steps(self.steps, budget)
        self.scaling.fit(train)
        optimiser = adam(self.parameters(), self.learning_rate)

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            loss = -self._log_prob(draw()).mean()
            descend(optimiser, loss)
            return {"loss": loss}

        held_out = validation[: VALIDATION_NUMBERS // self.spec.dims]
        run_training(
            self,
            update,
            optimisers=[optimiser],
            schedulers=[linear_decay(optimiser, steps, start=0.5)],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            log=log,
            sample=self.sample,
            ema_decay=self.ema_decay,
            validate=lambda model: -cast(PixelCNNpp, model).log_prob(held_out).mean().item(),
            validate_every=max(100, steps // 20),
        )


class PixelConditionals(nn.Module):
    """A discretised mixture at each pixel, given the pixels before it."""

    def __init__(
        self, spec: DataSpec, filters: int, blocks: int, mixtures: int, dropout: float
    ) -> None:
        super().__init__()
        self.spec, self.mixtures = spec, mixtures
        channels = spec.shape[0]
        self.noise_shape = (1 + channels, *spec.shape[1:])
        outputs = parameter_count(channels, mixtures)
        self.network = PixelNetwork(channels, outputs, filters, blocks, dropout)
        spread_evenly(self.network.output.bias, channels, mixtures, reach=1.0)

    def mixture(self, parameters: Tensor) -> LogisticMixture:
        return mixture_from(parameters, self.spec.shape[0], self.mixtures, self.spec.levels)

    def log_prob(self, scaled: Tensor) -> Tensor:
        return self.mixture(self.network(scaled)).log_prob(scaled).sum(dim=(1, 2))

    def sample(self, uniform: Tensor) -> Tensor:
        """Turns uniform numbers [n, 1 + channels, H, W] into scaled images [n, channels, H, W].

        Source: Ramachandran et al. 2017, arXiv:1704.06001 (what is cached).
        """
        channels, height, width = self.spec.shape
        framed, where = frame(uniform.new_zeros(len(uniform), *self.spec.shape))
        cache = Cache(width)
        for row in range(height):
            here, cache.column = where[:, :, row : row + 1], 0
            found = self.network.look_above(framed[:, :, row : row + 1, 1:], here, cache)
            for column in range(width):
                cache.column, pixel = column, slice(column, column + 1)
                parameters = self.network.look_left(
                    framed[:, :, row + 1 : row + 2, pixel],
                    here[..., pixel],
                    [finding[..., pixel] for finding in found],
                    cache,
                )
                drawn = self.mixture(parameters[..., 0, 0]).sample(uniform[:, :, row, column])
                framed[:, :channels, row + 1, column + 1] = drawn
            cache.next_row()
        return framed[:, :channels, 1:, 1:]


class CoordinateConditionals(nn.Module):
    """A continuous mixture for each coordinate of a point, given the coordinates before it."""

    def __init__(self, spec: DataSpec, units: int, layers: int, mixtures: int) -> None:
        super().__init__()
        self.mixtures = mixtures
        self.noise_shape = (2, spec.dims)
        outputs = parameter_count(1, mixtures)
        # The first has no coordinate to see; it is given a constant, as the others are.
        sizes = [[1 + before, *[units] * layers, outputs] for before in range(spec.dims)]
        networks = [mlp(size, nn.SiLU) for size in sizes]
        for network in networks:
            spread_evenly(cast(nn.Linear, network[-1]).bias, 1, mixtures, reach=2.0)
        self.networks = nn.ModuleList(networks)

    def mixture(self, coordinate: int, before: Tensor) -> LogisticMixture:
        inputs = functional.pad(before, (1, 0), value=1.0)
        return mixture_from(self.networks[coordinate](inputs), 1, self.mixtures, None)

    def log_prob(self, scaled: Tensor) -> Tensor:
        terms = [
            self.mixture(i, scaled[:, :i]).log_prob(scaled[:, i : i + 1])
            for i in range(scaled.shape[1])
        ]
        return torch.stack(terms).sum(dim=0)

    def sample(self, uniform: Tensor) -> Tensor:
        """Turns uniform numbers [n, 2, d] into scaled points [n, d]."""
        x = uniform[:, 0, :0]
        for i in range(uniform.shape[2]):
            x = torch.cat([x, self.mixture(i, x).sample(uniform[:, :, i])], dim=1)
        return x
