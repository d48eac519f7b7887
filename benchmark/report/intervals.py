"""How far a 95 % interval reaches when part of its error is known from a few seeds alone."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtr, stdtrit

UPPER = 0.975  # what a two-sided interval of 95 % leaves below its upper end
_NODES = ndtri((np.arange(2_000) + 0.5) / 2_000)  # of a standard normal, equally likely

Part = tuple[float, float]  # variance of a mean, and the degrees of freedom it is known with
NOTHING: Part = (0.0, math.inf)


def of_mean(values: np.ndarray) -> Part:
    """Variance of the mean of [n] values; nothing is known, and nothing added, from one."""
    if len(values) < 2:
        return NOTHING
    return float(values.var(ddof=1)) / len(values), len(values) - 1


def pooled(parts: Sequence[Part]) -> Part:
    """The sum of independent parts, with the degrees of freedom that fit unequal variances.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different
    population variances are involved", Biometrika 34.
    """
    variance = sum(part for part, _ in parts)
    uncertainty = sum(part**2 / freedom for part, freedom in parts)
    return (variance, variance**2 / uncertainty) if uncertainty else (variance, math.inf)


def reach(known: float, seeds: Sequence[Part]) -> float:
    """To each side of a 95 % interval of a mean.

    Args:
        known: the variance that is known well, of test examples: it has a normal error.
        seeds: what training seeds add: Student's t, for there are few of them.
    """
    return _quantile(known, *pooled(seeds))


@lru_cache(maxsize=10_000)
def _quantile(known: float, variance: float, freedom: float) -> float:
    """Of the sum of a normal variable and one with Student's distribution."""
    if variance == 0 or math.isinf(freedom):
        return float(ndtri(UPPER)) * math.sqrt(known + variance)
    normal, student = math.sqrt(known), math.sqrt(variance)

    def excess(end: float) -> float:
        return float(stdtr(freedom, (end - normal * _NODES) / student).mean()) - UPPER

    alone = float(stdtrit(freedom, UPPER)) * student
    return brentq(excess, 0.0, 2 * (alone + float(ndtri(UPPER)) * normal), rtol=1e-6)
