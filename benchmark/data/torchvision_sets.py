"""MNIST, Fashion-MNIST and CIFAR-10, through torchvision."""

import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.errors import UserError
from benchmark.spec import DataSpec

VALIDATION = {"mnist": 10_000, "fashion_mnist": 10_000, "cifar10": 10_000}
DEFAULT_ROOT = Path.home() / ".cache" / "generative-benchmark"


def load_mnist(root: Path | None = None) -> DataSet:
    """50,000 / 10,000 / 10,000 images of 1x28x28."""
    return _load("mnist", "MNIST", root, network="mnist-cnn")


def load_fashion_mnist(root: Path | None = None) -> DataSet:
    """50,000 / 10,000 / 10,000 images of 1x28x28."""
    return _load("fashion_mnist", "FashionMNIST", root, network="fashion-mnist-cnn")


def load_cifar10(root: Path | None = None) -> DataSet:
    """40,000 / 10,000 / 10,000 images of 3x32x32."""
    return _load("cifar10", "CIFAR10", root, network="cifar10-cnn")


def _load(name: str, class_name: str, root: Path | None, network: str) -> DataSet:
    folder = root or DEFAULT_ROOT
    images, labels = _read(name, class_name, folder, train=True)
    test, test_labels = _read(name, class_name, folder, train=False)
    # Published orders are not exchangeable (MNIST's first test half is the easier one), and a
    # smaller run takes the first examples of a split: so each is shuffled, once and for all.
    rng = np.random.Generator(np.random.PCG64(seed=2919))
    order, test_order = rng.permutation(len(images)), rng.permutation(len(test))
    cut = len(images) - VALIDATION[name]
    return DataSet(
        name,
        DataSpec(tuple(images.shape[1:]), levels=256),
        images[order[:cut]],
        images[order[cut:]],
        test[test_order],
        labels[order[:cut]],
        test_labels[test_order],
        network=network,
        validation_labels=labels[order[cut:]],
    )


def _read(name: str, class_name: str, folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    from torchvision import datasets

    opened = _open(getattr(datasets, class_name), name, class_name, folder, train)
    pixels = torch.as_tensor(opened.data)
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return pixels.contiguous(), torch.as_tensor(opened.targets)


def _open(dataset: Any, name: str, class_name: str, folder: Path, train: bool) -> Any:
    where = folder / ("cifar-10-batches-py" if class_name == "CIFAR10" else f"{class_name}/raw")
    try:
        return dataset(root=str(folder), train=train, download=False)
    except (RuntimeError, AssertionError, ValueError) as error:
        if "Dataset not found" not in str(error):
            raise UserError(f"{name}: a file in {where} is damaged: delete that folder") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return dataset(root=str(folder), train=train, download=True)
    except (RuntimeError, OSError, urllib.error.URLError) as error:
        raise UserError(
            f"{name}: looked for {where}, found nothing whole there, and the download "
            f"failed ({_first_line(error)}); put torchvision's {class_name} files there, or say "
            "where they are with --data-root DIR or BENCHMARK_DATA=DIR"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(":") if str(error).strip() else repr(error)
