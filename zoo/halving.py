"""A batch computed in parts that fit in memory."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def in_parts(compute: Callable[..., Tensor], batch: Sequence[Tensor], size: int) -> Tensor:
    """`compute(*batch)` a part at a time; parts that do not fit in memory are halved, said so.

    Args:
        compute: takes tensors [m, ...] and gives a tensor [m, ...].
        batch: tensors [n, ...].
        size: of the first parts tried.

    Returns:
        [n, ...].
    """
    parts: list[Tensor] = []
    start, n = 0, len(batch[0])
    while start < n or not parts:
        part = _unless_too_large(compute, [each[start : start + size] for each in batch])
        if part is None:
            size = (min(size, n) + 1) // 2
            warnings.warn(f"a batch does not fit in memory: halved to {size}", stacklevel=2)
        else:
            parts.append(part)
            start += size
    return torch.cat(parts)


def _unless_too_large(compute: Callable[..., Tensor], part: Sequence[Tensor]) -> Tensor | None:
    """None where a part of several does not fit in memory, on the way that torch reports it."""
    try:
        return compute(*part)
    except RuntimeError as error:
        said = isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
        if len(part[0]) < 2 or not said:
            raise
    return None
