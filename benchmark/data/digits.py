"""Scikit-learn's 1,797 handwritten digits: real images that every installation has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmark.data.base import DataSet
from benchmark.spec import DataSpec

VALIDATION, TEST = 400, 400
MISSING = 7  # the digit that `digits_without_7` has in its test split alone


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
    train_labels, validation_labels, test_labels = classes.split(sizes)
    return DataSet(
        "digits",
        DataSpec((1, 8, 8), levels=17),
        train,
        validation,
        test,
        train_labels,
        test_labels,
        network="digits-cnn",
        validation_labels=validation_labels,
    )


def load_digits_without_7(root: Path | None = None) -> DataSet:
    """The splits of `digits`, training and validation without a single seven.

    A model of these data misses a mode of the test split, which its likelihood there must show.
    """
    data = load_digits(root)
    assert data.train_labels is not None
    assert data.validation_labels is not None
    train, validation = data.train_labels != MISSING, data.validation_labels != MISSING
    return replace(
        data,
        name="digits_without_7",
        train=data.train[train],
        train_labels=data.train_labels[train],
        validation=data.validation[validation],
        validation_labels=data.validation_labels[validation],
    )
