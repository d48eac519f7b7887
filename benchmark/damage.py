"""Real images, damaged by a known amount: models that show what each metric sees and misses.

Every kind of damage comes in four grades, from slight to heavy. Adding one is adding a function
to KINDS.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from benchmark.errors import UserError, unknown_name
from benchmark.features import load_network
from benchmark.spec import DataSpec, Log

BLUR = (0.4, 0.6, 0.9, 1.4)  # standard deviation of the kernel, pixels
NOISE = (0.05, 0.1, 0.2, 0.4)  # standard deviation, share of the range of grey levels
DROPPED = (1, 2, 3, 4)  # classes
MEMORISED = (0.25, 0.5, 0.75, 1.0)  # share of the images
DISTINCT = (10, 5, 2, 1)  # images of a class
BRIGHTNESS = (0.05, 0.1, 0.2, 0.3)  # added, share of the range of grey levels
GRADES = len(BLUR)


@dataclass(frozen=True)
class Source:
    """Where damaged images come from.

    Args:
        levels: of grey.
        train, held_out: [m, C, H, W] real images.
        network: name of the shipped classifier that says of which class an image is.
    """

    levels: int
    train: Tensor
    held_out: Tensor
    network: str

    def classes(self) -> Tensor:
        """The class of every held-out image, [m]."""
        return load_network(self.network)(self.held_out, self.levels).logits.argmax(dim=1)

    def rounded(self, images: Tensor) -> Tensor:
        """Real numbers as grey levels."""
        return images.round().clamp(0, self.levels - 1).to(self.held_out.dtype)


class Damaged:
    """Held-out real images with one kind of damage, in a grade from 1 to 4.

    Args:
        spec: of the images.
        kind: one of KINDS.
        grade: how much; `intact` has no grades.
        network: name of the shipped classifier that says of which class an image is.
    """

    def __init__(
        self, spec: DataSpec, kind: str = "intact", grade: int = 1, network: str = "digits-cnn"
    ) -> None:
        if kind not in KINDS:
            raise unknown_name("damage", kind, KINDS)
        if grade not in range(1, GRADES + 1):
            raise UserError(f"damage has the grades 1 to {GRADES}, got {grade}")
        if not spec.is_image:
            raise UserError("damage is done to images, and these data are points")
        self.spec = spec
        self.kind = kind
        self.grade = grade
        self.network = network

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        """Keeps the images: nothing is learnt."""
        assert self.spec.levels is not None
        self.source = Source(self.spec.levels, train.cpu(), validation.cpu(), self.network)

    def sample(self, n: int) -> Tensor:
        """Draws [n, *shape]; no image twice, unless that is the damage."""
        return KINDS[self.kind](self.source, n, self.grade - 1)


def _intact(source: Source, n: int, step: int) -> Tensor:
    return _some(source.held_out, n)


def _blurred(source: Source, n: int, step: int) -> Tensor:
    images = _some(source.held_out, n).double()
    reach = round(3 * BLUR[step])
    offsets = torch.arange(-reach, reach + 1).double()
    weights = torch.exp(-0.5 * (offsets / BLUR[step]) ** 2)
    kernel = torch.outer(weights, weights)[None, None] / weights.sum() ** 2
    planes = images.flatten(0, 1)[:, None]  # [n * C, 1, H, W]
    blurred = conv2d(pad(planes, (reach,) * 4, mode="replicate"), kernel)
    return source.rounded(blurred.view_as(images))


def _noisy(source: Source, n: int, step: int) -> Tensor:
    images = _some(source.held_out, n).double()
    noise = NOISE[step] * (source.levels - 1) * torch.randn_like(images)
    return source.rounded(images + noise)


def _brighter(source: Source, n: int, step: int) -> Tensor:
    images = _some(source.held_out, n).double()
    return source.rounded(images + BRIGHTNESS[step] * (source.levels - 1))


def _with_dropped_classes(source: Source, n: int, step: int) -> Tensor:
    classes = source.classes()
    present = classes.unique()
    kept = present[torch.randperm(len(present))[DROPPED[step] :]]
    return _some(source.held_out[torch.isin(classes, kept)], n)


def _partly_memorised(source: Source, n: int, step: int) -> Tensor:
    copies = round(MEMORISED[step] * n)
    drawn = torch.cat([_some(source.train, copies), _some(source.held_out, n - copies)])
    return drawn[torch.randperm(n)]


def _collapsed_within_classes(source: Source, n: int, step: int) -> Tensor:
    """The classes are as frequent as in the data, with a few images each, again and again."""
    classes = source.classes()
    chosen = torch.randperm(len(classes))[:n]
    drawn = source.held_out[chosen].clone()
    for label in classes[chosen].unique():
        candidates = source.held_out[classes == label]
        pool = _some(candidates, min(DISTINCT[step], len(candidates)))
        places = classes[chosen] == label
        drawn[places] = pool[torch.randint(len(pool), (int(places.sum()),))]
    return drawn


def _some(images: Tensor, n: int) -> Tensor:
    if n > len(images):
        raise ValueError(f"asked for {n} images, the damage leaves {len(images)}: lower --samples")
    return images[torch.randperm(len(images))[:n]]


KINDS: dict[str, Callable[[Source, int, int], Tensor]] = {
    "intact": _intact,
    "blur": _blurred,
    "noise": _noisy,
    "dropped_classes": _with_dropped_classes,
    "memorised": _partly_memorised,
    "collapse_within_class": _collapsed_within_classes,
    "brightness": _brighter,
}
