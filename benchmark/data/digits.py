"""Scikit-learn's 1,797 handwritten digits: real images that every installation has."""

from pathlib import Path

import numpy as np
import torch

from benchmark.data.base import DataSet
from benchmark.spec import DataSpec

VALIDATION, TEST = 400, 400


def load_digits(root: Path | None = None) -> DataSet:
    """997 / 400 / 400 images of 1x8x8 with 17 grey levels, shuffled once.

    The file lists its writers one after another, so a split without shuffling would test on
    other hands than it trained on.
    """
    from sklearn.datasets import load_digits as bundled

    images, labels = bundled(return_X_y=True)
    order = np.random.Generator(np.random.PCG64(seed=1797)).permutation(len(images))
    pixels = torch.from_numpy(images[order].astype(np.uint8)).view(-1, 1, 8, 8)
    classes = torch.from_numpy(labels[order].astype(np.int64))
    sizes = [len(pixels) - VALIDATION - TEST, VALIDATION, TEST]
    train, validation, test = pixels.split(sizes)
    train_labels, _, test_labels = classes.split(sizes)
    return DataSet(
        "digits",
        DataSpec((1, 8, 8), levels=17),
        train,
        validation,
        test,
        train_labels,
        test_labels,
        network="digits-cnn",
    )
