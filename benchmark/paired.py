"""The difference of two models in one metric: interval, p-value, verdict; of likelihoods."""

import math
from dataclasses import dataclass, replace

import numpy as np

from benchmark.metrics import METRICS
from benchmark.metrics.base import Metric
from benchmark.randomness import derive_seed
from benchmark.report.intervals import of_mean, pooled
from benchmark.report.ranking import Standing

LEVEL = 0.05  # of a verdict
RESAMPLES = 10_000
AT_ONCE = 2_000_000  # examples drawn at a time: they bound memory
PERCENTILES = (0.025, 0.975)
_METRICS = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Comparison:
    """One metric of two models: the mean difference first − second, with a 95 % interval.

    Args:
        first, second: names of the models.
        difference: of the stored values, in the metric's unit.
        low, high: bound the difference of the true values; infinite where a bound leaves it open.
        n: test examples or samples that both were measured on.
        seeds: of the first and of the second model.
        p_value: two-sided, of the true values being equal.
        corrected: the p-value where other metrics of the same models were looked at too.
        remarks: what the interval does and does not hold.
    """

    metric: Metric
    first: str
    second: str
    difference: float
    low: float
    high: float
    n: int
    seeds: tuple[int, int]
    p_value: float
    corrected: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def better(self) -> str | None:
        """The model that is better at the level of 5 %, None where that is undecided."""
        p_value = self.p_value if self.corrected is None else self.corrected
        if p_value > LEVEL or self.low <= 0 <= self.high:
            return None
        return self.first if (self.high < 0) == (self.metric.better == "lower") else self.second

    @property
    def verdict(self) -> str:
        return self.better or "undecided"


def compare_likelihoods(
    first: Standing, second: Standing, dataset: str = "", resamples: int = RESAMPLES
) -> Comparison:
    """The difference in mean NLL, nats.

    The true NLL of a model whose value is a bound lies below it: by its BDMC gap at most for a
    sandwich, by an unknown amount without one. By that much the interval reaches farther to the
    side on which the model would be better.

    Args:
        first: with its values of single examples, in the order of the test split.
        second: the same; where it has fewer examples, the first model's others are left out.
        dataset: seeds the resampling.
        resamples: how many the interval is taken from.
    """
    values, others = first.examples, second.examples
    assert values is not None
    assert others is not None
    n = min(values.shape[1], others.shape[1])
    values, others = values[:, :n], others[:, :n]
    differences = values.mean(axis=0) - others.mean(axis=0)
    rng = np.random.default_rng(derive_seed("compare", dataset))
    of_examples = resampled_means(differences, rng, resamples)
    of_seeds = seed_deviations(values.mean(axis=1), others.mean(axis=1), rng, resamples)
    # Their sign makes second against first the mirror image of first against second.
    sign = 1 if first.model < second.model else -1
    drawn = of_examples + sign * of_seeds
    low, high = np.quantile(drawn, PERCENTILES)
    return Comparison(
        _METRICS["nll"],
        first.model,
        second.model,
        float(differences.mean()),
        float(low) - first.slack,
        float(high) + second.slack,
        n,
        (len(values), len(others)),
        _two_sided(drawn, first.slack, second.slack),
        remarks=(*_remarks(first), *_remarks(second)),
    )


def in_bits(nats: Comparison, dims: int) -> Comparison:
    """The same of images of `dims` sub-pixels, in bits for each; the remarks are not repeated."""
    bits = dims * math.log(2)
    return replace(
        nats,
        metric=_METRICS["bits_per_dim"],
        difference=nats.difference / bits,
        low=nats.low / bits,
        high=nats.high / bits,
        remarks=(),
    )


def resampled_means(
    values: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES
) -> np.ndarray:
    """[resamples] means of [n] values drawn with replacement."""
    n = len(values)
    rows = max(1, AT_ONCE // n)
    parts = [
        values[rng.integers(n, size=(min(rows, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(parts)


def seed_deviations(
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """How far the difference of two means over training seeds may lie from that over all seeds.

    Two or three seeds can't be resampled: where seeds matter, their bootstrap gives intervals
    that hold the truth in some 80 % of cases, not 95. Student's t stands in for it, with the
    degrees of freedom that fit unequal variances.

    Args:
        first: [s] mean of each seed of one model; a single seed adds nothing.
        second: [t] of the other.
        rng: draws.
        resamples: how many.

    Returns:
        [resamples] deviations in the unit of the means.
    """
    variance, freedom = pooled([of_mean(first), of_mean(second)])
    if variance == 0:
        return np.zeros(resamples)
    return math.sqrt(variance) * rng.standard_t(freedom, size=resamples)


def of_one_seed(model: str) -> str:
    """The remark that a value of one training seed needs."""
    return f"{model} has one seed: of other trainings nothing is known."


def _two_sided(drawn: np.ndarray, first_slack: float, second_slack: float) -> float:
    """Twice the smaller share of the resamples on which either model is not the better one."""
    not_below = (1 + np.sum(drawn + second_slack >= 0)) / (1 + len(drawn))
    not_above = (1 + np.sum(drawn - first_slack <= 0)) / (1 + len(drawn))
    return float(min(1.0, 2 * min(not_below, not_above)))


def _remarks(model: Standing) -> list[str]:
    remarks = []
    if model.is_open:
        remarks.append(
            f"{model.model} has an upper bound only: its true NLL may lie anywhere below, so it "
            "can be found better, never worse."
        )
    elif model.slack:
        remarks.append(
            f"{model.model} has a sandwich: its true NLL may lie up to {model.slack:.2f} nats "
            "below its value, and the interval holds them."
        )
    if model.examples is not None and len(model.examples) == 1:
        remarks.append(of_one_seed(model.model))
    return remarks
