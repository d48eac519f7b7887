"""Binarised MNIST: black and white digits, on which published likelihoods are in nats.

Three sets that are not to be confused, for their likelihoods differ by about two nats: one draw of
the pixels that never changes, drawn anew for training, and the one draw that papers share.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.data.torchvision_sets import DEFAULT_ROOT, load_mnist
from benchmark.errors import UserError
from benchmark.spec import DataSpec

SPEC = DataSpec((1, 28, 28), levels=2)
WHITE = 255  # grey level that is always drawn as 1
REDRAWN = 10  # draws of each training image in the stochastic set
LAROCHELLE_FILES = {split: f"binarized_mnist_{split}.amat" for split in ("train", "valid", "test")}


def load_binarised_static(root: Path | None = None) -> DataSet:
    """The splits of `mnist`, each pixel drawn once: 1 with probability grey level / 255.

    The draw is our own, under a fixed seed; that of the papers is `binarised_larochelle`.

    Source: Salakhutdinov and Murray 2008, "On the quantitative analysis of deep belief networks",
    section 6.1 (drawn once).
    """
    return _binarised("binarised_static", load_mnist(root), draws=1, seed=2)


def load_binarised_stochastic(root: Path | None = None) -> DataSet:
    """The splits of `mnist`; training images are drawn REDRAWN times each, the others once.

    The papers draw every image anew whenever it is seen; here training meets a draw again after
    REDRAWN times the images at the earliest, and validation and test images never change. The
    training split holds the first draw of all images, then the second of all, and so on.

    Source: Burda et al. 2016, arXiv:1509.00519, section 5 (drawn anew).
    """
    return _binarised("binarised_stochastic", load_mnist(root), draws=REDRAWN, seed=3)


def load_binarised_larochelle(root: Path | None = None) -> DataSet:
    """50,000 / 10,000 / 10,000 images as they were drawn once for all papers; without labels.

    Source: Larochelle and Murray 2011, "The neural autoregressive distribution estimator".

    Raises:
        UserError: one of LAROCHELLE_FILES is not in the folder, or is damaged.
    """
    folder = root or DEFAULT_ROOT
    train, validation, test = (_read(folder / name) for name in LAROCHELLE_FILES.values())
    return DataSet("binarised_larochelle", SPEC, train, validation, test)


def _binarised(name: str, mnist: DataSet, *, draws: int, seed: int) -> DataSet:
    rng = np.random.Generator(np.random.PCG64(seed=seed))
    labels = mnist.train_labels
    return DataSet(
        name,
        DataSpec(mnist.spec.shape, levels=2),
        torch.cat([_drawn(mnist.train, rng) for _ in range(draws)]),
        _drawn(mnist.validation, rng),
        _drawn(mnist.test, rng),
        None if labels is None else labels.repeat(draws),
        mnist.test_labels,
        validation_labels=mnist.validation_labels,
    )


def _drawn(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Ones with probability grey level / 255 and zeros, uint8."""
    below = rng.integers(WHITE, size=images.shape, dtype=np.uint8)  # 0 .. 254
    return (images > torch.from_numpy(below)).to(torch.uint8)


def _read(path: Path) -> Tensor:
    """Images [n, 1, 28, 28] of a text file of zeros and ones, one image a line."""
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise UserError(
            f"binarised_larochelle: looked for {path}, found none ({error.strerror}); put "
            f"{', '.join(LAROCHELLE_FILES.values())} of Larochelle's binarised MNIST there, or "
            "say where they are with --data-root DIR"
        ) from error
    digits = content[content > ord(" ")] - ord("0")
    if digits.size == 0 or digits.size % SPEC.dims or digits.max() > 1:
        raise UserError(f"{path} is damaged: it must hold {SPEC.dims} zeros and ones a line")
    return torch.from_numpy(digits).view(-1, *SPEC.shape)
