"""Error bars of shares: how many of n examples have a property."""

import math
from dataclasses import replace

from benchmark.metrics.base import Measurement


def as_share(measured: Measurement) -> Measurement:
    """The same share of n examples with its binomial error and Wilson's 95 % interval."""
    assert measured.n is not None
    share, n = measured.value, measured.n
    low, high = wilson_interval(share, n)
    error = math.sqrt(share * (1 - share) / n)
    return replace(measured, standard_error=error, low=low, high=high)


def wilson_interval(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a binomial share: within [0, 1], and of positive width at 0 and 1.

    Source: Wilson 1927, Journal of the American Statistical Association 22(158).
    """
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)
