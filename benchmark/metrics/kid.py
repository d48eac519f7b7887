"""Kernel inception distance: an unbiased squared MMD between features, with a cubic kernel."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors
from benchmark.metrics.kernels import Polynomial
from benchmark.metrics.mmd import squared_mmds
from benchmark.metrics.resampling import HalfSamples
from benchmark.randomness import generator
from benchmark.threads import torch_on_one_thread

SUBSETS = 100
LARGEST_SUBSET = 1_000


@dataclass(frozen=True)
class KernelDistance:
    """The distance, and its values on random subsets.

    Args:
        value: mean over the subsets.
        subsets: a value for each, and the share of the examples that it had.
    """

    value: float
    subsets: HalfSamples

    @property
    def standard_error(self) -> float:
        """Of the value, as an estimate of the populations' distance."""
        values = np.array(self.subsets.values)
        return math.hypot(self.subsets.standard_error, values.std(ddof=1) / len(values) ** 0.5)


def measure(evidence: Evidence) -> Measurement:
    """The distance between the features of real and of generated images."""
    real = evidence.real_features.features
    generated = evidence.generated_features.features
    seed = torch.randint(2**32, (), generator=generator("kid", evidence.seed))
    found = kernel_distance(real=real, generated=generated, seed=int(seed))
    error, freedom = found.standard_error, found.subsets.freedom
    measured = Measurement.with_error(found.value, error, n=len(generated), freedom=freedom)
    kept = {"values": list(found.subsets.values), "share": found.subsets.share}
    return replace(measured, details={"half_samples": kept})


def kernel_distance(
    *, real: Tensor, generated: Tensor, seed: int, subsets: int = SUBSETS
) -> KernelDistance:
    """Squared MMD with the kernel (x·y / d + 1)³, as the mean over random subsets.

    Each subset takes m = min(n / 2, 1,000) examples of either set without replacement. Its value
    is unbiased, and so is their mean; it can be negative.

    The error: let U be the statistic of all n examples and s the spread over subsets. To first
    order, subsets of m differ from U with variance s² = V (1/m - 1/n), while U itself has V / n,
    that is s² · m / (n - m): the delete-half jackknife for m = n / 2 (`resampling`). The mean
    of b subsets misses U by s² / b more.

    Args:
        real: [n, d] features of real data, n >= 4.
        generated: [k, d] features of generated data, k >= 4.
        seed: of the subsets, below 2^32; torch-fidelity draws the same ones under it.
        subsets: how many (b), at least 2.

    Source: Bińkowski et al. 2018, arXiv:1801.01401, section 4.
    """
    check_vectors(at_least=4, real=real, generated=generated)
    if subsets < 2:
        raise ValueError(f"subsets must be at least 2, got {subsets}")
    n = min(len(real), len(generated))
    size = min(n // 2, LARGEST_SUBSET)
    whole = torch.ones(size, 1, dtype=torch.bool)
    with torch_on_one_thread():
        values = tuple(
            squared_mmds(
                real=real[rows_r].double(),
                generated=generated[rows_g].double(),
                members_real=whole,
                members_generated=whole,
                kernel=Polynomial(),
            ).item()
            for rows_r, rows_g in _draws(len(real), len(generated), size, seed, subsets)
        )
    return KernelDistance(float(np.mean(values)), HalfSamples(values, share=size / n))


def _draws(n: int, k: int, size: int, seed: int, subsets: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields rows of the real and of the generated set, drawn as torch-fidelity draws them."""
    drawn = np.random.RandomState(seed)
    for _ in range(subsets):
        rows_g = torch.from_numpy(drawn.choice(k, size, replace=False))
        yield torch.from_numpy(drawn.choice(n, size, replace=False)), rows_g
