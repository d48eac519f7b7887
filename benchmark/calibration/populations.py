"""Two normal populations in general position, standing in for features of images."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from benchmark.metrics.base import Cost, Evidence, Features
from benchmark.randomness import derive_seed, generator
from benchmark.spec import DataSpec

DIMENSIONS, CLASSES = 4, 6
TRAIN = 1_000
SPACE = DataSpec((1, 1, DIMENSIONS), levels=2)
NO_COST = Cost(None, None, None, 1, None)


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution with mean [d] and covariance R R', float64."""

    mean: Tensor
    root: Tensor

    @property
    def covariance(self) -> Tensor:
        """[d, d]."""
        return self.root @ self.root.T

    def sample(self, n: int, drawn: torch.Generator) -> Tensor:
        """[n, d] independent draws."""
        noise = torch.randn(n, len(self.mean), generator=drawn, dtype=torch.float64)
        return self.mean + noise @ self.root.T


REAL = Gaussian(
    torch.tensor([0.3, -0.2, 0.1, 0.4], dtype=torch.float64),
    torch.tensor(
        [[1.0, 0, 0, 0], [0.5, 0.9, 0, 0], [-0.3, 0.2, 0.8, 0], [0.1, -0.4, 0.3, 0.6]],
        dtype=torch.float64,
    ),
)
GENERATED = Gaussian(
    torch.tensor([0.8, -0.5, 0.3, 0.8], dtype=torch.float64),
    torch.tensor(
        [[0.8, 0, 0, 0], [-0.2, 1.1, 0, 0], [0.4, 0.1, 0.7, 0], [0.2, 0.3, -0.2, 0.9]],
        dtype=torch.float64,
    ),
)


class Identity:
    """A feature network whose features are the vectors themselves."""

    name = "identity"

    def __call__(self, images: Tensor, levels: int) -> Features:
        """The vectors, and logits that are linear in them."""
        vectors = images.flatten(1)
        drawn = generator("logits to calibrate with")
        return Features(
            vectors, vectors @ torch.randn(DIMENSIONS, CLASSES, generator=drawn).double()
        )


def evidence(generated: Gaussian, n: int, *parts: object) -> Evidence:
    """Draws of the real population and of `generated`, n of each.

    The training set is the same in every repeat: memorisation is a property of samples beside
    one training set.

    Args:
        generated: the model's distribution.
        n: examples of either set.
        parts: name the repeat; the same parts give the same draws.
    """
    drawn = generator("calibration", *parts)
    real, other = (_as_images(each.sample(n, drawn)) for each in (REAL, generated))
    held_out = _as_images(REAL.sample(n, drawn))
    return Evidence(
        SPACE,
        model=None,
        test=real,
        real=real,
        generated=other,
        network=Identity(),
        modes=None,
        cost=NO_COST,
        seed=derive_seed("calibration", *parts) % 2**31,
        train=_train(),
        validation=held_out,
    )


@cache
def _train() -> Tensor:
    return _as_images(REAL.sample(TRAIN, generator("calibration", "train")))


def _as_images(vectors: Tensor) -> Tensor:
    return vectors.view(-1, *SPACE.shape)
