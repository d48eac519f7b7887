"""Measuring in full precision, whatever speed the caller has asked of torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32 and no search for the fastest convolution inside the block.

    Uses the setting by backend, which can be read and restored after any other way of asking for
    TF32; the older `allow_tf32` raises where the newer way was used.
    """
    cudnn: Any = torch.backends.cudnn
    backends = (torch.backends.cuda.matmul, cudnn.conv)
    precisions = [backend.fp32_precision for backend in backends]
    searched, deterministic = cudnn.benchmark, cudnn.deterministic
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        for backend, precision in zip(backends, precisions, strict=True):
            backend.fp32_precision = precision
        cudnn.benchmark, cudnn.deterministic = searched, deterministic
