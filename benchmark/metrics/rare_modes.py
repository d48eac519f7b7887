"""How much of the rare modes of a mixture a model has."""

import numpy as np
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.randomness import derive_seed

DRAWS = 1_000
RARE = 0.5  # of the mean weight 1 / k, below which a mode is rare


def measure(evidence: Evidence) -> Measurement:
    """Recall of the modes that have less than half the mean weight, with their shares.

    The error is the spread over shares that are drawn given the counts (Jeffreys' prior, half a
    sample more in each mode), so that a mode which was not seen at all still has an interval.
    The `perfect` of the details is the value that a perfect sampler has on average with as many
    high-quality samples: below 1, since chance gives some modes too few.
    """
    if evidence.modes is None:
        raise NotApplicable("no known modes: this data set is not a mixture with known components")
    weights = evidence.modes.weights.double().cpu().numpy()
    rare = weights < RARE / len(weights)
    if not rare.any():
        raise NotApplicable("no mode is rare: none has less than half the mean weight")
    counts = _counts(evidence, len(weights))
    rng = np.random.Generator(np.random.PCG64(derive_seed("rare_recall", evidence.seed)))
    drawn = rare_recall(rng.dirichlet(counts + 0.5, size=DRAWS), weights=weights, rare=rare)
    shares = counts / max(counts.sum(), 1)
    value = float(rare_recall(shares, weights=weights, rare=rare))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Measurement(
        value,
        n=int(counts.sum()),
        standard_error=float(drawn.std()),
        low=min(float(low), value),
        high=max(float(high), value),
        details={
            "rare": np.flatnonzero(rare).tolist(),
            "shares": shares[rare].tolist(),
            "weights": weights[rare].tolist(),
            "perfect": expected_recall(int(counts.sum()), weights=weights, rare=rare),
        },
    )


def rare_recall(shares: np.ndarray, *, weights: np.ndarray, rare: np.ndarray) -> np.ndarray:
    """The part of the rare modes' probability that the samples reach.

    A mode counts up to its weight: too many samples of one do not make up for another's.

    Args:
        shares: [..., k] of the high-quality samples, by mode.
        weights: [k] true probabilities.
        rare: [k] booleans, at least one true.

    Returns:
        [...] sums over rare modes of min(share, weight), over the sum of their weights: 0 where
        all are missed, 1 where each has its weight or more.
    """
    reached = np.minimum(shares, weights)[..., rare].sum(axis=-1)
    return reached / weights[rare].sum()


def expected_recall(n: int, *, weights: np.ndarray, rare: np.ndarray) -> float:
    """Mean of `rare_recall` over n draws from the true weights: from binomial distributions."""
    from scipy.stats import binom

    if n == 0:
        return 0.0
    seen = np.arange(n + 1)
    reached = [
        (binom.pmf(seen, n, weight) * np.minimum(seen / n, weight)).sum()
        for weight in weights[rare]
    ]
    return float(sum(reached) / weights[rare].sum())


def _counts(evidence: Evidence, k: int) -> np.ndarray:
    """[k] high-quality samples of each mode."""
    assigned = evidence.assigned
    modes: Tensor = assigned.mode[assigned.high_quality]
    return np.bincount(modes.cpu().numpy(), minlength=k)
