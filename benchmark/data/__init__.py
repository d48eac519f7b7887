"""The data sets, one (or one family) a file. Adding one is adding a line to DATASETS."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.base import DataSet
from benchmark.data.binarised import (
    REDRAWN,
    load_binarised_larochelle,
    load_binarised_static,
    load_binarised_stochastic,
)
from benchmark.data.dequantised import load_mnist_dequantised
from benchmark.data.digits import load_digits, load_digits_without_7
from benchmark.data.files import load_user_images
from benchmark.data.mixture import (
    load_grid,
    load_high,
    load_lines,
    load_manifold,
    load_ring,
    load_ring_rare,
)
from benchmark.data.stacked import CLASSIFIER, load_stacked_mnist
from benchmark.data.torchvision_sets import load_cifar10, load_fashion_mnist, load_mnist
from benchmark.errors import UserError, unknown_name


@dataclass(frozen=True)
class DataSource:
    """A named data set: how to load it and what to tell about it."""

    name: str
    description: str
    load: Callable[[Path | None], DataSet]


DATASETS = (
    DataSource("ring", "8 Gaussians on a circle of radius 1, sigma 0.01", load_ring),
    DataSource("grid", "25 Gaussians on a 5x5 grid, spacing 2, sigma 0.05", load_grid),
    DataSource("ring_rare", "the ring with weights from 30 % to 1 %", load_ring_rare),
    DataSource("lines", "4 parallel lines in the plane, sigma 0.01 across", load_lines),
    DataSource(
        "manifold", "1 Gaussian on a plane in 10 dimensions, off it sigma 0.05", load_manifold
    ),
    DataSource("high", "10 Gaussians of 700 dimensions in 1,200", load_high),
    DataSource("digits", "1,797 real 8x8 digits, 17 grey levels (scikit-learn)", load_digits),
    DataSource(
        "digits_without_7",
        "digits with no seven for training and validation, all ten for the test",
        load_digits_without_7,
    ),
    DataSource("mnist", "28x28 handwritten digits, 256 levels", load_mnist),
    DataSource("fashion_mnist", "28x28 pictures of clothes, 256 levels", load_fashion_mnist),
    DataSource("cifar10", "32x32 RGB photographs, 256 levels", load_cifar10),
    DataSource("mnist_dequantised", "MNIST with uniform noise, floats", load_mnist_dequantised),
    DataSource(
        "binarised_static",
        "MNIST in black and white, every pixel drawn once under a seed of ours",
        load_binarised_static,
    ),
    DataSource(
        "binarised_stochastic",
        f"MNIST in black and white, training images drawn {REDRAWN} times each",
        load_binarised_stochastic,
    ),
    DataSource(
        "binarised_larochelle",
        "MNIST in black and white as drawn once for the papers; its .amat files must be there",
        load_binarised_larochelle,
    ),
    DataSource(
        "stacked_mnist",
        "3 MNIST digits as RGB, 1,000 modes, told by a classifier that is right on "
        f"{CLASSIFIER.test_accuracy:.2%} of digits",
        load_stacked_mnist,
    ),
)


def load_dataset(name: str, root: Path | None = None) -> DataSet:
    """Loads a data set by its name, or the user's own by its path.

    Args:
        name: one of DATASETS, or the path of an `.npz` file or of a folder of images.
        root: where torchvision's sets are, or are to be downloaded.

    Raises:
        UserError: no such set, or its files are missing or damaged.
    """
    names = [source.name for source in DATASETS]
    for source in DATASETS:
        if source.name == name:
            return source.load(root)
    path = Path(name)
    if path.exists():
        data = load_user_images(path)
        if data.name in names:  # its results would take the place of the other's
            raise UserError(f"{path} would be called {data.name!r}, as one of ours is: rename it")
        return data
    if path.suffix == ".npz" or "/" in name:
        raise UserError(f"no data at {name}: give a folder of images or an .npz file")
    raise unknown_name("data set", name, names)
