"""Kernel inception distance: an unbiased squared MMD between features, with a cubic kernel."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors
from benchmark.randomness import generator

SUBSETS = 100
LARGEST_SUBSET = 1_000


@dataclass(frozen=True)
class KernelDistance:
    """Mean over subsets, and its standard error as an estimate of the populations' distance."""

    value: float
    standard_error: float


def measure(evidence: Evidence) -> Measurement:
    """The distance between the features of real and of generated images."""
    real = evidence.real_features.features
    generated = evidence.generated_features.features
    seed = torch.randint(2**32, (), generator=generator("kid", evidence.seed))
    distance = kernel_distance(real=real, generated=generated, seed=int(seed))
    return Measurement.with_error(distance.value, distance.standard_error, n=len(generated))


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
        seed: of the subsets, below 2^32.
        subsets: how many (b).

    Source: Binkowski et al. 2018, arXiv:1801.01401, section 4; computed by torch-fidelity.
    """
    from torch_fidelity.metric_kid import (
        KEY_METRIC_KID_MEAN,
        KEY_METRIC_KID_STD,
        kid_features_to_metric,
    )

    check_vectors(at_least=4, real=real, generated=generated)
    n = min(len(real), len(generated))
    size = min(n // 2, LARGEST_SUBSET)
    found = kid_features_to_metric(
        generated.double(),
        real.double(),
        kid_subsets=subsets,
        kid_subset_size=size,
        rng_seed=seed,
        verbose=False,
    )
    spread = found[KEY_METRIC_KID_STD] * math.sqrt(subsets / (subsets - 1))
    error = spread * math.sqrt(size / (n - size) + 1 / subsets)
    return KernelDistance(found[KEY_METRIC_KID_MEAN], error)
