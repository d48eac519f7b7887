"""Evidence for tests of sample metrics: random images with a random network, and points."""

import torch

from benchmark.metrics.base import Cost, Evidence, Features
from benchmark.spec import DataSpec

IMAGES = DataSpec((1, 4, 4), levels=5)
NO_COST = Cost(None, None, None, 1, None)


class RandomNetwork:
    name = "random"

    def __init__(self, dims=16, width=8, classes=6):
        drawn = torch.Generator().manual_seed(7)
        self.first = torch.randn(dims, width, generator=drawn)
        self.second = torch.randn(width, classes, generator=drawn)

    def __call__(self, images, levels):
        features = torch.tanh((images.flatten(1).float() / levels - 0.5) @ self.first)
        return Features(features, features @ self.second)


def images_evidence(real, generated, network=None, seed=0):
    network = RandomNetwork() if network is None else network
    return Evidence(IMAGES, None, real, real, generated, network, None, NO_COST, seed)


def points_evidence(real, generated, modes=None, seed=0):
    spec = DataSpec((real.shape[1],))
    reason = "points have no feature network"
    return Evidence(spec, None, real, real, generated, reason, modes, NO_COST, seed)


def random_images(n, darker=0):
    """Uniform grey levels; `darker` caps some of them."""
    images = torch.randint(0, IMAGES.levels, (n, *IMAGES.shape))
    return torch.minimum(images, torch.tensor(IMAGES.levels - 1 - darker)).to(torch.uint8)
