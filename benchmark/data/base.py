"""What a data set is: three fixed splits of one space, known by a hash of their content."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.spec import DataSpec

if TYPE_CHECKING:
    from benchmark.data.gaussians import Mixture
    from benchmark.metrics.base import KnownModes


@dataclass(frozen=True)
class DataSet:
    """Real data: integers (images, uint8) or floats (points, float32).

    Args:
        train, validation, test: [n, *spec.shape].
        train_labels, validation_labels, test_labels: [n] class indices where the set has classes.
        classes: names of the classes, empty where there are none.
        mixture: the exact distribution, for toys.
        network: name of the shipped classifier whose features sample metrics use.
        image_modes: what images of a known number of kinds are told apart by.
    """

    name: str
    spec: DataSpec
    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    mixture: "Mixture | None" = None
    network: str | None = None
    validation_labels: Tensor | None = None
    image_modes: "KnownModes | None" = None

    def __post_init__(self) -> None:
        dtype = torch.uint8 if self.spec.is_image else torch.float32
        for split in ("train", "validation", "test"):
            values: Tensor = getattr(self, split)
            if values.dtype != dtype or tuple(values.shape[1:]) != self.spec.shape:
                sizes = ", ".join(map(str, self.spec.shape))
                raise ValueError(
                    f"{self.name} {split} must be {dtype} [n, {sizes}], "
                    f"got {values.dtype} {list(values.shape)}"
                )

    @property
    def modes(self) -> "KnownModes | None":
        """The modes that samples are counted in, where they are known."""
        return self.mixture if self.image_modes is None else self.image_modes

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the three splits, its first sixteen hexadecimal digits."""
        digest = hashlib.sha256(repr(self.spec).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(split.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]
