"""Stacked MNIST: three digits as the channels of one image, a thousand modes that can be counted.

A mode is what the shipped classifier reads from the three channels. It is right on 99.51 % of
MNIST's test digits, so on 98.5 % of stacked images: enough to find every mode and to leave the
divergence of real images at its floor, but a channel that shows no digit is read as one too.

Source: Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 4.2, after Metz et al. 2017
(unrolled GAN), arXiv:1611.02163, section 3.3.1; the sizes are those of Lin et al. 2018 (PacGAN),
arXiv:1712.04086, section 4.2.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.data.torchvision_sets import load_mnist
from benchmark.features import NETWORKS, load_network
from benchmark.metrics.base import Assigned, FeatureNetwork
from benchmark.spec import DataSpec

TRAIN, VALIDATION, TEST = 128_000, 26_000, 26_000
CLASSIFIER = NETWORKS["mnist-cnn"]
BATCH_SIZE = 64  # digits at once: their feature maps stay in a core's cache


class StackedDigits:
    """The thousand modes 100 a + 10 b + c of images whose channels show the digits a, b and c."""

    perfect = 1.0

    @cached_property
    def weights(self) -> Tensor:
        """[1000] equal probabilities, float64."""
        return torch.full((1_000,), 1e-3, dtype=torch.float64)

    def assign(self, x: Tensor) -> Assigned:
        """The mode of every image [n, 3, 28, 28] of 256 levels; every image counts for one.

        The classifier runs where the images are.
        """
        network = load_network(CLASSIFIER.name, x.device)
        a, b, c = read_digits(network, x.flatten(0, 1)[:, None]).view(-1, 3).T
        mode = 100 * a + 10 * b + c
        return Assigned(mode, torch.ones_like(mode, dtype=torch.bool))


def read_digits(network: FeatureNetwork, images: Tensor) -> Tensor:
    """The class [n] that a classifier finds most probable for each image [n, 1, H, W]."""
    read = [network(batch, 256).logits.argmax(dim=1) for batch in images.split(BATCH_SIZE)]
    return torch.cat(read)


def load_stacked_mnist(root: Path | None = None) -> DataSet:
    """128,000 / 26,000 / 26,000 images of 3x28x28, each split stacked from the same of MNIST's.

    Labels are modes.
    """
    mnist = load_mnist(root)
    assert mnist.train_labels is not None
    assert mnist.validation_labels is not None
    assert mnist.test_labels is not None
    rng = np.random.Generator(np.random.PCG64(seed=1000))
    train, train_labels = stacked(mnist.train, mnist.train_labels, TRAIN, rng)
    validation, validation_labels = stacked(
        mnist.validation, mnist.validation_labels, VALIDATION, rng
    )
    test, test_labels = stacked(mnist.test, mnist.test_labels, TEST, rng)
    return DataSet(
        "stacked_mnist",
        DataSpec((3, 28, 28), levels=256),
        train,
        validation,
        test,
        train_labels,
        test_labels,
        validation_labels=validation_labels,
        image_modes=StackedDigits(),
    )


def stacked(
    images: Tensor, labels: Tensor, n: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Stacks n triples of digits, every mode equally probable.

    MNIST has more ones than fives; so a channel's class is drawn first, then an image of it.

    Args:
        images: [m, 1, H, W] of every class 0..9.
        labels: [m] their classes.
        n: how many to stack.
        rng: draws classes and images.

    Returns:
        [n, 3, H, W] images and [n] modes 100 a + 10 b + c.
    """
    classes = rng.integers(10, size=(n, 3))
    counts = np.bincount(labels.numpy(), minlength=10)
    starts = np.cumsum(counts) - counts
    by_class = np.argsort(labels.numpy(), kind="stable")
    chosen = torch.from_numpy(by_class[starts[classes] + rng.integers(counts[classes])])
    modes = torch.from_numpy(classes @ np.array([100, 10, 1]))
    return images[:, 0][chosen], modes
