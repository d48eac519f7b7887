"""A small convolutional classifier, whose last hidden layer serves as features of images."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.features.inference import features_in_batches
from benchmark.metrics.base import Features

BATCH_SIZE = 500


@dataclass(frozen=True)
class Architecture:
    """The numbers that make one classifier different from another.

    Args:
        shape: (C, H, W) of an image.
        channels: of each stage; a stage is two 3x3 convolutions and a halving of the sides.
        features: size of the last hidden layer.
        classes: number of logits.
    """

    shape: tuple[int, int, int]
    channels: tuple[int, ...]
    features: int
    classes: int = 10


class Classifier(nn.Module):
    """Convolutions with batch normalisation, one hidden layer, logits (after VGG, much smaller).

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, section 2.1.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        inputs, height, width = architecture.shape
        stages: list[nn.Module] = []
        for outputs in architecture.channels:
            stages += [*_convolution(inputs, outputs), *_convolution(outputs, outputs)]
            stages.append(nn.MaxPool2d(2))
            inputs, height, width = outputs, height // 2, width // 2
        self.stages = nn.Sequential(*stages)
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs * height * width, architecture.features, bias=False),
            nn.BatchNorm1d(architecture.features),
            nn.ReLU(),
        )
        self.head = nn.Linear(architecture.features, architecture.classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, d] and logits [n, k] of images [n, C, H, W] scaled to [-1, 1]."""
        features = self.hidden(self.stages(x))
        return features, self.head(features)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def scaled(images: Tensor, levels: int) -> Tensor:
    """Integers 0..levels-1 as floats in [-1, 1]."""
    return images.float() * (2 / (levels - 1)) - 1


class ClassifierNetwork:
    """A trained classifier as a feature network.

    Args:
        name: which network; values of different names never compare.
        architecture: that the weights were trained in.
        state: of a `Classifier`; half precision will do.
        device: to compute on.
    """

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        state: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.architecture = architecture
        self.device = torch.device(device)
        with torch.device("meta"):  # no random weights are drawn only to be replaced
            classifier = Classifier(architecture)
        classifier.load_state_dict(state, assign=True)
        self.classifier = classifier.to(self.device, torch.float32).eval().requires_grad_(False)

    def __call__(self, images: Tensor, levels: int) -> Features:
        """Features and logits of integer images [n, C, H, W]."""
        if tuple(images.shape[1:]) != self.architecture.shape:
            raise ValueError(
                f"{self.name} takes images of {list(self.architecture.shape)}, "
                f"got {list(images.shape[1:])}"
            )
        return features_in_batches(
            lambda batch: self.classifier(scaled(batch, levels)),
            images,
            device=self.device,
            batch_size=BATCH_SIZE,
        )


def packed_weights(classifier: Classifier) -> bytes:
    """The classifier's state as the content of a file, floats in half precision."""
    state = {name: value.cpu() for name, value in classifier.state_dict().items()}
    halved = {n: v.half() if v.is_floating_point() else v for n, v in state.items()}
    content = io.BytesIO()
    torch.save(halved, content)
    return content.getvalue()


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """A state written by `packed_weights`.

    Raises:
        UserError: the file is missing, or is not the one with this checksum.
    """
    repair = "reinstall the program, or train it anew with `python -m benchmark.features.train`"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the weights {path} ({error.strerror}): {repair}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"the weights {path} are damaged (wrong SHA-256): {repair}")
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
