"""Runs a frozen network over many images, the same way whatever the caller has set."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.metrics.base import Features
from benchmark.precision import full_precision

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]


def features_in_batches(
    forward: Forward, images: Tensor, *, device: torch.device, batch_size: int
) -> Features:
    """Applies `forward` to every image.

    Args:
        forward: gives features [b, d] and logits [b, k] for images [b, C, H, W] on `device`.
        images: [n, C, H, W], uint8, on any device; n may be zero.
        device: to compute on.
        batch_size: images that go through the network at once.

    Returns:
        [n, d] features and [n, k] logits, float32 on the CPU.
    """
    batches = []
    with torch.inference_mode(), full_precision(), torch.autocast(device.type, enabled=False):
        for batch in images.split(batch_size):
            features, logits = forward(batch.to(device))
            batches.append((features.float().cpu(), logits.float().cpu()))
    features, logits = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Features(features, logits)
