"""Trains the shipped classifiers: `python -m benchmark.features.train digits-cnn`."""

import argparse
import hashlib
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.errors import UserError, unknown_name
from benchmark.features import NETWORKS, WEIGHTS, ShippedNetwork
from benchmark.features.classifier import (
    Architecture,
    Classifier,
    ClassifierNetwork,
    packed_weights,
    scaled,
)
from benchmark.randomness import derive_seed, fork_rng
from benchmark.store import write_atomically


@dataclass(frozen=True)
class Recipe:
    """How long to train, and how far training images are moved at random.

    Args:
        shift: largest displacement in pixels, either way along both axes.
        turn: largest rotation in radians, either way.
        stretch: largest relative change of size, either way.
        flip: whether half of the images are mirrored left to right.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    shift: float = 0.0
    turn: float = 0.0
    stretch: float = 0.0
    flip: bool = False


RECIPES = {
    "digits-cnn": Recipe(epochs=120, batch_size=64, shift=1.0, turn=0.2, stretch=0.12),
    "mnist-cnn": Recipe(epochs=4, shift=2.0, turn=0.15, stretch=0.1),
    "fashion-mnist-cnn": Recipe(epochs=5, shift=1.0, flip=True),
    "cifar10-cnn": Recipe(epochs=5, shift=2.0, flip=True),
}


def train_classifier(
    train: Tensor, labels: Tensor, levels: int, architecture: Architecture, recipe: Recipe
) -> Classifier:
    """Fits a classifier by cross-entropy, with one cycle of the learning rate.

    Args:
        train: [n, C, H, W] integers below `levels`.
        labels: [n] class indices.
        levels: of the images.
        architecture: of the classifier.
        recipe: how to train it.

    Source: for the schedule, Smith and Topin 2018, arXiv:1708.07120.
    """
    classifier = Classifier(architecture)
    batches = len(train) // recipe.batch_size
    optimiser = torch.optim.AdamW(
        classifier.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * batches
    )
    for _ in range(recipe.epochs):
        order = torch.randperm(len(train))[: batches * recipe.batch_size]
        for chosen in order.split(recipe.batch_size):
            _, logits = classifier(moved(scaled(train[chosen], levels), recipe))
            loss = F.cross_entropy(logits, labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return classifier.eval()


def moved(x: Tensor, recipe: Recipe) -> Tensor:
    """Images [n, C, H, W] in [-1, 1], each turned, stretched, shifted and mirrored at random."""
    count, side = len(x), x.shape[-1]
    angle = recipe.turn * _uniform(count)
    scale = 1 + recipe.stretch * _uniform(count)
    mirror = (torch.rand(count) < 0.5).float() * -2 + 1 if recipe.flip else torch.ones(count)
    shift = recipe.shift * 2 / side
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = scale * angle.cos() * mirror, -scale * angle.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = scale * angle.sin() * mirror, scale * angle.cos()
    matrix[:, 0, 2], matrix[:, 1, 2] = shift * _uniform(count), shift * _uniform(count)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    # Sampling pads with zeros; black, the background, is -1.
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


def _uniform(count: int) -> Tensor:
    return torch.rand(count) * 2 - 1


def accuracy(network: ClassifierNetwork, images: Tensor, labels: Tensor, levels: int) -> float:
    """Share of images whose largest logit is that of their label."""
    return (network(images, levels).logits.argmax(dim=1) == labels).double().mean().item()


def run(shipped: ShippedNetwork, data: DataSet, folder: Path) -> str:
    """Trains one network on the train split, writes its file, and says how good it became.

    Returns:
        the file, its checksum and its test accuracy, in the form that NETWORKS lists them.
    """
    if data.train_labels is None or data.test_labels is None or data.spec.levels is None:
        raise UserError(f"{data.name} has no classes to learn")
    levels = data.spec.levels
    started = time.process_time()
    with fork_rng(derive_seed("feature network", shipped.name)):
        classifier = train_classifier(
            data.train, data.train_labels, levels, shipped.architecture, RECIPES[shipped.name]
        )
    content = packed_weights(classifier)
    path = folder / f"{shipped.name}.pt"
    write_atomically(path, content)
    state = torch.load(io.BytesIO(content), weights_only=True)
    network = ClassifierNetwork(shipped.name, shipped.architecture, state)
    share = accuracy(network, data.test, data.test_labels, levels)
    return (
        f"{path}: {len(content):,} bytes, {time.process_time() - started:.0f} CPU seconds\n"
        f'sha256="{hashlib.sha256(content).hexdigest()}",\ntest_accuracy={share:.4f},'
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.features.train", description=__doc__
    )
    parser.add_argument("name", help=f"one of {', '.join(NETWORKS)}")
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where torchvision's sets are"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, metavar="DIR", help="for the weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums are taken in another order by more, and the file would differ
    try:
        if arguments.name not in NETWORKS:
            raise unknown_name("feature network", arguments.name, NETWORKS)
        shipped = NETWORKS[arguments.name]
        print(run(shipped, load_dataset(shipped.dataset, arguments.data_root), arguments.out))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
