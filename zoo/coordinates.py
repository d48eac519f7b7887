"""Conditionals of points: a small network for each coordinate, given those before it."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.spec import DataSpec
from zoo.autoregressive import Conditionals
from zoo.layers import mlp
from zoo.logistic_mixture import LogisticMixture, mixture_from, parameter_count, spread_evenly


class CoordinateConditionals(Conditionals):
    """A continuous mixture of logistics for each coordinate, given the coordinates before it.

    Args:
        spec: of the points.
        units: of a hidden layer.
        layers: number of hidden layers.
        mixtures: number of logistics.
    """

    def __init__(self, spec: DataSpec, units: int, layers: int, mixtures: int) -> None:
        super().__init__()
        self.mixtures = mixtures
        self.noise_shape = (2, spec.dims)
        self.widest, self.cached = 2 * units, spec.dims
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

    def log_prob(self, scaled: Tensor, labels: Tensor | None = None) -> Tensor:
        terms = [
            self.mixture(i, scaled[:, :i]).log_prob(scaled[:, i : i + 1])
            for i in range(scaled.shape[1])
        ]
        return torch.stack(terms, dim=1)

    def draw(
        self, uniform: Tensor, known: Tensor, rows: int = 0, labels: Tensor | None = None
    ) -> Tensor:
        """Turns uniform numbers [n, 2, d] into scaled points [n, d], the first `rows` kept."""
        x = known[:, :rows]
        for i in range(rows, uniform.shape[2]):
            x = torch.cat([x, self.mixture(i, x).sample(uniform[:, :, i])], dim=1)
        return x
