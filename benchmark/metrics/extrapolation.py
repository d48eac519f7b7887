"""Fréchet distance extrapolated to infinitely many samples."""

from dataclasses import replace
from itertools import count

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.frechet import LARGEST_HALF, frechet_distance
from benchmark.metrics.inputs import check_vectors, float64_device
from benchmark.metrics.resampling import REPEATS, half_samples
from benchmark.randomness import generator

PARTS = (1, 2, 4)


def measure(evidence: Evidence) -> Measurement:
    """The distance that features of ever more real and generated images would tend to.

    Raises:
        NotApplicable: a quarter of the samples is not more than the features have dimensions.
    """
    device = float64_device(evidence)
    real = evidence.real_features.features.to(device)
    generated = evidence.generated_features.features.to(device)
    n, dims = min(len(real), len(generated)), real.shape[1]
    if n // PARTS[-1] <= dims:
        raise NotApplicable(
            f"extrapolation needs at least {PARTS[-1] * (dims + 1)} samples for {dims} features, "
            f"got {n}"
        )
    steps = count()

    def limit(*, real: Tensor, generated: Tensor) -> float:
        evidence.progress("extrapolating the Fréchet distance", next(steps), REPEATS + 1)
        return _intercept(distances_of_parts(real=real, generated=generated))

    drawn = generator("fid_infinity", evidence.seed)
    halves = half_samples(
        limit, real=real, generated=generated, generator=drawn, most=LARGEST_HALF
    )
    shuffled = {
        "real": real[torch.randperm(len(real), generator=drawn).to(device)],
        "generated": generated[torch.randperm(len(generated), generator=drawn).to(device)],
    }
    distances = distances_of_parts(**shuffled)
    measured = Measurement.with_halves(_intercept(distances), halves, n=len(generated))
    return replace(measured, details={**measured.details, "distances": distances})


def extrapolated_distance(*, real: Tensor, generated: Tensor) -> float:
    """Fréchet distance at infinite n and m, as far as its bias falls like 1/n and 1/m.

    The distance is taken of all examples, of halves and of quarters of both sets; with p parts its
    bias is p times that of the whole, so that a straight line through the means over parts has the
    limit at p = 0. Parts are disjoint: every point of the line rests on all examples. (The source
    draws subsets at random, of the generated set only.)

    Args:
        real: [n, d] features of real data in random order, n >= 8.
        generated: [m, d] features of generated data in random order, m >= 8.

    Returns:
        Near the distance between the populations where n and m are 4 d and more; can be negative
        for equal ones.

    Source: Chong and Forsyth 2020, arXiv:1911.07023, section 4.
    """
    return _intercept(distances_of_parts(real=real, generated=generated))


def distances_of_parts(*, real: Tensor, generated: Tensor) -> list[float]:
    """Mean distance between parts of the two sets, for each number of parts in PARTS."""
    check_vectors(at_least=2 * PARTS[-1], real=real, generated=generated)
    return [_mean_distance(real, generated, parts) for parts in PARTS]


def _mean_distance(real: Tensor, generated: Tensor, parts: int) -> float:
    of_real = real.split(len(real) // parts)[:parts]
    of_generated = generated.split(len(generated) // parts)[:parts]
    distances = [
        frechet_distance(real=part_r, generated=part_g)
        for part_r, part_g in zip(of_real, of_generated, strict=True)
    ]
    return sum(distances) / parts


def _intercept(distances: list[float]) -> float:
    """Where the line of least squares through the distances meets no parts at all."""
    return float(np.polynomial.Polynomial.fit(PARTS, distances, deg=1)(0.0))
