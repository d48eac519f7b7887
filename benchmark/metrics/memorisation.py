"""Memorisation: how near samples lie to the training examples, beside held-out real examples."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.shares import as_share
from benchmark.metrics.training_neighbours import (
    Nearest,
    TrainingNeighbours,
    in_features,
    in_pixels,
    nearest,
)
from benchmark.randomness import generator

COPY = 1 / 3  # of the distance to the second nearest training example
LEVEL = 0.001  # of the verdict: at most one in a thousand models that learnt the truth is flagged
PAIRS = 8
LARGEST_PAIR = 4_096  # sub-pixels of an image that is kept for the figure


def nn_distance_ratio(evidence: Evidence) -> Measurement:
    """The ratio in feature space, or between points; details hold a figure's pairs of images."""
    found = in_features(evidence)
    return _ratio(evidence, "nn_distance_ratio", found, _pairs(evidence, found.generated))


def pixel_distance_ratio(evidence: Evidence) -> Measurement:
    """The ratio by grey levels of images."""
    if not evidence.spec.is_image:
        raise NotApplicable("points have no pixels: the distance ratio is between coordinates")
    found = in_pixels(evidence)
    return _ratio(evidence, "pixel_distance_ratio", found, _pairs(evidence, found.generated))


def authenticity(evidence: Evidence) -> Measurement:
    """Share of samples that no training example is suspiciously near to, in feature space."""
    found = in_features(evidence)
    return _share(evidence, "authenticity", authentic(found.generated, found.train), {})


def copies(evidence: Evidence) -> Measurement:
    """Share of samples that are copies in pixels; details hold the verdict and its p-value."""
    found = in_pixels(evidence)
    copied, by_chance = is_copy(found.generated), is_copy(found.held_out)
    p = _p_value(copied, by_chance)
    verdict = {
        "flagged": p < LEVEL,
        "p_value": p,
        "level": LEVEL,
        "held_out": by_chance.double().mean().item(),
    }
    return _share(evidence, "copies", copied, verdict)


def copies_p(evidence: Evidence) -> Measurement:
    """Probability of that many copies or more, were samples drawn from the true distribution."""
    found = in_pixels(evidence)
    p = _p_value(is_copy(found.generated), is_copy(found.held_out))
    return Measurement(p, n=len(found.generated.rows))


def distance_ratio(*, held_out: Tensor, generated: Tensor) -> float:
    """Mean distance of samples from their nearest training example, over that of held-out data.

    Args:
        held_out: [m] distances of held-out real examples from the nearest training example.
        generated: [n] the same of samples.

    Returns:
        0 for copies, 1 in expectation for fresh draws of the true distribution, and more for
        samples that lie away from all data.

    Raises:
        ValueError: the held-out examples are training examples.
    """
    scale = held_out.double().mean().item()
    if scale == 0:
        raise ValueError(
            "every held-out example is a training example: take test data that are not in train"
        )
    return generated.double().mean().item() / scale


def authentic(generated: Nearest, train: Tensor) -> Tensor:
    """Which samples are farther from their training example than that one is from all others.

    Args:
        generated: the nearest training examples of n samples.
        train: [t, d] vectors, t >= 2.

    Returns:
        [n] booleans. Of fresh draws of the true distribution a third is authentic in one
        dimension, 0.38 in the plane and a half in many: compare with the row of real data.

    Source: Alaa et al. 2022, "How faithful is your synthetic data?", arXiv:2102.08921.
    """
    used, position = generated.rows[:, 0].unique(return_inverse=True)
    # The first of the two neighbours of a training example is itself, or its duplicate.
    gaps = nearest(train[used], train, count=2).distances[:, 1]
    return generated.distances[:, 0] > gaps[position]


def is_copy(found: Nearest) -> Tensor:
    """Which examples lie three times nearer to one training example than to all others.

    Args:
        found: the two nearest training examples of n examples.

    Returns:
        [n] booleans; also true at distance zero, where training examples occur twice. By chance
        it is true with probability about 3^-d around smooth densities in d dimensions: 0.11 in
        the plane, nothing for images. So the share of held-out examples stands beside it.

    Source: Yoon et al. 2023, "Diffusion probabilistic models generalize when they fail to
    memorize", ICML workshop on structured probabilistic inference; so too Gu et al. 2023,
    arXiv:2310.02664.
    """
    first, second = found.distances.T
    return (first == 0) | (first < COPY * second)


def _p_value(generated: Tensor, held_out: Tensor) -> float:
    """Fisher's exact test, one-sided: more copies among the samples than among held-out data."""
    from scipy.stats import hypergeom

    seen, by_chance = int(generated.sum()), int(held_out.sum())
    total = len(generated) + len(held_out)
    return float(hypergeom.sf(seen - 1, total, seen + by_chance, len(generated)))


def _ratio(
    evidence: Evidence, name: str, found: TrainingNeighbours, details: Mapping[str, Any]
) -> Measurement:
    real, generated = (near.distances[:, 0] for near in (found.held_out, found.generated))
    return Measurement.of_statistic(
        lambda *, real, generated: distance_ratio(held_out=real, generated=generated),
        drawn=generator(name, evidence.seed),
        n=len(generated),
        lowest=0.0,
        details=details,
        real=real,
        generated=generated,
    )


def _share(
    evidence: Evidence, name: str, holds: Tensor, details: Mapping[str, Any]
) -> Measurement:
    """A share of the samples with Wilson's interval, which also has a width at 0 and 1."""
    return as_share(
        Measurement.of_statistic(
            lambda *, generated: generated.mean().item(),
            drawn=generator(name, evidence.seed),
            n=len(holds),
            details=details,
            generated=holds.double(),
        )
    )


def _pairs(evidence: Evidence, found: Nearest) -> Mapping[str, Any]:
    """The first samples, as they were drawn, and for each the training image nearest to it."""
    if not evidence.spec.is_image or evidence.spec.dims > LARGEST_PAIR:
        return {}
    assert evidence.train is not None
    copied_from = evidence.train[found.rows[:PAIRS, 0].to(evidence.train.device)]
    shown = {"generated": evidence.generated[:PAIRS], "nearest": copied_from}
    return {"pairs": {name: images.cpu().tolist() for name, images in shown.items()}}
