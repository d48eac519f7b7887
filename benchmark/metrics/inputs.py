"""What sample metrics are handed: two checked sets of vectors, in the space where they compare."""

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence


def check_vectors(at_least: int = 2, **sets: Tensor) -> None:
    """Raises ValueError, in one line, unless every set is finite [n >= at_least, d] for one d."""
    for name, vectors in sets.items():
        if vectors.ndim != 2 or len(vectors) < at_least:
            raise ValueError(
                f"{name} must be [n >= {at_least}, d], got {list(vectors.shape)}: "
                "give enough examples, each flattened to one row"
            )
        # A finite sum tells in one cheap pass; it may also overflow, or be one of integers.
        if not vectors.sum().isfinite() and not vectors.isfinite().all():
            rows = int((~vectors.isfinite()).any(dim=1).sum())
            raise ValueError(f"{name} is not finite in {rows} of {len(vectors)} rows")
    widths = {name: vectors.shape[1] for name, vectors in sets.items()}
    if len(set(widths.values())) > 1:
        shown = " and ".join(f"{name} has {width}" for name, width in widths.items())
        raise ValueError(f"the sets must have one dimension, but {shown}")


def compared_vectors(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """The real and generated sets, [n, d] each: points as they are, images as features.

    Raises:
        NotApplicable: images without a feature network.
    """
    if evidence.spec.is_image:
        return evidence.real_features.features, evidence.generated_features.features
    return evidence.real.flatten(1), evidence.generated.flatten(1)


def pixels(images: Tensor, levels: int) -> Tensor:
    """Grey levels scaled to [0, 1], one row per image, float64."""
    return images.flatten(1).double() / (levels - 1)


def float64_device(evidence: Evidence) -> torch.device:
    """Where double precision is to be had: CUDA if the cell runs there, else the CPU."""
    return evidence.device if evidence.device.type == "cuda" else torch.device("cpu")
