"""MNIST with its grey levels spread evenly: the continuous images that published decoders saw."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.data.torchvision_sets import load_mnist
from benchmark.spec import DataSpec

LEVELS = 256
STEPS = 2**15  # of the noise within a level, so that a float32 holds level and noise exactly


def load_mnist_dequantised(root: Path | None = None) -> DataSet:
    """The splits of `mnist` as numbers in (0, 1): (level + u) / 256 with u uniform on (0, 1).

    The noise is drawn once and for all: every model and every estimator sees the same numbers.

    Source: Wu et al. 2017, arXiv:1611.04273, section 5.
    """
    mnist = load_mnist(root)
    rng = np.random.Generator(np.random.PCG64(seed=256))
    train, validation, test = (
        _dequantised(images, rng) for images in (mnist.train, mnist.validation, mnist.test)
    )
    return DataSet(
        "mnist_dequantised",
        DataSpec(mnist.spec.shape),
        train,
        validation,
        test,
        mnist.train_labels,
        mnist.test_labels,
    )


def _dequantised(images: Tensor, rng: np.random.Generator) -> Tensor:
    noise = rng.integers(STEPS, size=images.shape, dtype=np.uint16)
    # Halfway between two steps, so that no number is on the border of its level.
    spread = torch.from_numpy(noise.astype(np.float32)).add_(0.5).div_(STEPS)
    return spread.add_(images).div_(LEVELS)
