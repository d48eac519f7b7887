"""Sets of features to time metrics on, the same each time."""

import torch
from torch import Tensor

from benchmark.randomness import generator


def feature_sets(count: int, width: int) -> tuple[Tensor, Tensor]:
    """Real and generated [count, width], float32: correlated normals, apart in mean and shape."""
    drawn = generator("features to time", count, width)

    def correlated() -> Tensor:
        # Standard deviations fall as they do in networks' features: few directions matter.
        scales = torch.arange(1, width + 1).pow(-0.5)
        turned = torch.linalg.qr(torch.randn(width, width, generator=drawn)).Q
        return (torch.randn(count, width, generator=drawn) * scales) @ turned

    real, generated = correlated(), correlated()
    return real, generated + 0.1 * torch.randn(width, generator=drawn) / width**0.5


def isotropic_sets(count: int, width: int) -> tuple[Tensor, Tensor]:
    """Two sets [count, width], float32, of independent standard normals, the second moved."""
    drawn = generator("isotropic features to time", count, width)
    real, generated = torch.randn(2, count, width, generator=drawn)
    return real, generated + 0.1


def scaled_copies(count: int, width: int) -> tuple[Tensor, Tensor, float]:
    """Two sets whose Fréchet distance is known: the second is 0.8 times the first, moved.

    Then the covariances are C and 0.64 C, and the distance is the squared move of the mean plus
    0.04 Tr C, for any number of examples.

    Returns:
        real and generated [count, width], float64, and their distance.
    """
    real, _ = feature_sets(count, width)
    real = real.double()
    generated = 0.8 * real[torch.randperm(count, generator=generator("copies to time"))] + 0.01
    move = (generated.mean(dim=0) - real.mean(dim=0)).square().sum()
    trace = real.var(dim=0).sum()
    return real, generated, (move + 0.04 * trace).item()
