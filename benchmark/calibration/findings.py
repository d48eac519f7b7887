"""What the repeats show: whether p-values are uniform, how often intervals hold the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kstest

from benchmark.calibration.populations import GENERATED, REAL
from benchmark.calibration.simulate import Repeats
from benchmark.calibration.studies import CLOSED_FORMS
from benchmark.metrics.shares import wilson_interval

LEVEL = 0.01  # below it, p-values are said not to be uniform
COVERAGE = (0.92, 0.97)
MOST_FALSE = 0.05


@dataclass(frozen=True)
class Uniformity:
    """P-values of a test between equal populations.

    Args:
        metric: name of the test.
        n: examples of either set.
        p_values: one a repeat.
        distance: of Kolmogorov and Smirnov, from the uniform distribution.
        chance: of so large a distance if they are uniform.
    """

    metric: str
    n: int
    p_values: tuple[float, ...]
    distance: float
    chance: float

    @property
    def holds(self) -> bool:
        """Whether they may well be uniform."""
        return self.chance >= LEVEL


@dataclass(frozen=True)
class Coverage:
    """How often 95 % intervals hold the true value.

    Args:
        metric: its name.
        n: examples of either set.
        repeats: intervals looked at.
        truth: "closed form", of the populations; or "mean of repeats", the expectation at n.
        true_value: in the metric's unit.
        share: of intervals that hold it.
        low, high: Wilson's 95 % interval of the share.
    """

    metric: str
    n: int
    repeats: int
    truth: str
    true_value: float
    share: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the share lies in the band that is asked for."""
        return COVERAGE[0] <= self.share <= COVERAGE[1]


@dataclass(frozen=True)
class FalseVerdicts:
    """How often `compare` decides between two sets of samples of one model.

    Args:
        settings: which data and models, in turn.
        repeats: comparisons made.
        metrics: that each of them looks at, at most.
        share: of comparisons with a verdict for any metric.
        low, high: Wilson's 95 % interval of the share.
    """

    settings: str
    repeats: int
    metrics: int
    share: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether there are as few as promised."""
        return self.share <= MOST_FALSE


def uniformity(metric: str, n: int, repeats: Repeats) -> Uniformity:
    """Compares the p-values of repeats with the uniform distribution."""
    values = np.array([repeat[metric][0] for repeat in repeats.values()])
    found = kstest(values, "uniform")
    return Uniformity(metric, n, tuple(values), float(found.statistic), float(found.pvalue))


def coverage(metric: str, n: int, repeats: Repeats) -> Coverage:
    """Counts the intervals that hold the true value.

    Many metrics are biased at finite n and compare only at equal n: their true value is the
    expectation at that n, for which the mean of all repeats stands. Its error is that of one
    value over the root of the number of repeats, too small to matter here.
    """
    values, lows, highs = np.array([repeat[metric] for repeat in repeats.values()], float).T
    known = CLOSED_FORMS.get(metric)
    truth = known(REAL, GENERATED) if known is not None else float(values.mean())
    inside = float(((lows <= truth) & (truth <= highs)).mean())
    low, high = wilson_interval(inside, len(values))
    named = "mean of repeats" if known is None else "closed form"
    return Coverage(metric, n, len(values), named, truth, inside, low, high)


def falsehood(settings: Sequence[str], repeats: Repeats) -> FalseVerdicts:
    """Counts the comparisons of a model with itself in which any metric gave a verdict."""
    decided = [any(row[2] for row in repeat.values()) for repeat in repeats.values()]
    share = sum(decided) / len(decided)
    low, high = wilson_interval(share, len(decided))
    metrics = max(len(repeat) for repeat in repeats.values())
    return FalseVerdicts(" and ".join(settings), len(decided), metrics, share, low, high)
