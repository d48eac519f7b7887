"""Inception score: how sure a classifier is of each sample, and how varied its answers are."""

from functools import partial

from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors
from benchmark.randomness import generator

SPLITS = 10
SPLIT_FROM = 5_000
LARGEST_HALF = 5_000


def measure(evidence: Evidence) -> Measurement:
    """The score of the generated images under the feature network's own classes."""
    logits = evidence.generated_features.logits
    score = partial(inception_score, splits=splits_for(len(logits)))
    return Measurement.of_statistic(
        score,
        drawn=generator("inception_score", evidence.seed),
        n=len(logits),
        most=LARGEST_HALF,
        lowest=1.0,
        highest=float(logits.shape[1]),
        logits=logits,
    )


def splits_for(n: int) -> int:
    """Ten from 5,000 samples on, as published; one below that.

    A split of m samples scores too low by up to (classes - 1) / (2 m) of itself: a thousandth
    for 5,000 samples and ten classes, but a ninth for 40.
    """
    return SPLITS if n >= SPLIT_FROM else 1


def inception_score(*, logits: Tensor, splits: int) -> float:
    """exp(E[KL(p(y given x) || p(y))]), averaged over contiguous splits of the samples.

    Args:
        logits: [n, k] of k classes for n samples, in an order that says nothing.
        splits: into how many equal parts the samples are cut.

    Returns:
        A number from 1 (one answer for all samples) to k (sure, and every class as often).

    Source: Salimans et al. 2016, arXiv:1606.03498, section 4; computed by torch-fidelity.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    check_vectors(logits=logits)
    if not 1 <= splits <= len(logits):
        raise ValueError(f"splits must lie in 1..{len(logits)}, got {splits}")
    logits = logits.double().cpu()
    # Below exp(-745) a probability is zero, and zero times log zero is not a number.
    logits = logits.maximum(logits.amax(dim=1, keepdim=True) - 700)
    return isc_features_to_metric(logits, splits=splits, shuffle=False)[KEY_METRIC_ISC_MEAN]
