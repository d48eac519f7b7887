"""What a trained model draws: samples held to its spec, and the missing half of test images."""

import torch
from torch import Tensor

from benchmark.spec import Completer, DataSpec
from benchmark.store import kept_rows

COMPLETED_IMAGES, COMPLETIONS = 8, 3  # test images in the figure, and how often each is completed


def check_samples(samples: Tensor, spec: DataSpec, count: int) -> None:
    """Raises ValueError, in one line, where samples are not what the spec promises."""
    expected = (count, *spec.shape)
    if tuple(samples.shape) != expected:
        raise ValueError(f"sample({count}) gave shape {list(samples.shape)}, not {list(expected)}")
    if spec.levels is None:
        if not samples.is_floating_point():
            raise ValueError(f"samples are {samples.dtype}, points must be floats")
        if not samples.isfinite().all():
            raise ValueError(f"{int((~samples.isfinite()).sum())} sampled numbers are not finite")
        return
    if samples.is_floating_point():
        raise ValueError(f"samples are {samples.dtype}, images must be integers")
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high >= spec.levels:
        raise ValueError(f"samples lie in {low}..{high}, not in 0..{spec.levels - 1}")


def completions(model: Completer, x: Tensor, spec: DataSpec) -> Tensor:
    """Completes the upper half of each image several times.

    Args:
        model: of images of this `spec`.
        x: [n, *shape] integers, on the model's device.
        spec: of x.

    Returns:
        [COMPLETIONS, n, *shape] integers on the CPU.

    Raises:
        ValueError: what the model gives is no image of this spec, or its upper half is not x's.
    """
    rows = kept_rows(spec.shape[1])
    repeated = x.repeat(COMPLETIONS, 1, 1, 1)
    drawn = torch.as_tensor(model.complete(repeated, rows)).cpu()
    check_samples(drawn, spec, len(repeated))
    if not torch.equal(drawn[:, :, :rows].long(), repeated[:, :, :rows].cpu().long()):
        raise ValueError(f"complete(x, {rows}) changed the first {rows} rows: they are to be kept")
    return drawn.unflatten(0, (COMPLETIONS, len(x)))
