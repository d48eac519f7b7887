"""Rank correlations between the metrics over the cells of a data set, with their intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from benchmark.metrics import METRICS
from benchmark.metrics.base import Metric
from benchmark.randomness import generator
from benchmark.report.contents import current
from benchmark.store import Cell, Result

LEAST_MODELS = 4  # below, an interval says nothing
REPEATS = 1_000  # of the bootstrap
_LEFT_OUT = ("bounds", "cost")
_RESTATED = ("bits_per_dim",)  # NLL in another unit: the same ranks


@dataclass(frozen=True)
class Correlation:
    """Of two metrics over cells, with a 95 % interval.

    Args:
        cells, models: how many both were measured in.
    """

    value: float
    low: float
    high: float
    cells: int
    models: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out zero, else 0."""
        return int(self.low > 0) - int(self.high < 0)


Pair = tuple[str, str]  # names of metrics, in the order of METRICS


def correlations(cells: Sequence[Cell]) -> dict[Pair, Correlation]:
    """Spearman's rank correlation of every two metrics over the cells of one data set.

    Values are turned so that higher is better, where a metric has a better way. Bounds and costs
    are left out: their values do not rank models of different kinds.

    The interval is the bootstrap's, over models, each with all its seeds: cells of one model are
    no independent witnesses. Pairs that fewer than LEAST_MODELS models share, or that have one
    value only, are left out.

    Source: Davison and Hinkley 1997, "Bootstrap Methods and their Application", sections 3.8
    (resampling whole clusters) and 5.3.1 (percentile intervals).
    """
    cells = sorted(cells, key=lambda cell: (cell.identity.model, cell.identity.seed))
    models = np.array([cell.identity.model for cell in cells])
    values = {metric.name: _turned(metric, cells) for metric in compared_metrics(cells)}
    pairs = {}
    for first, second in combinations(values, 2):
        both = np.isfinite(values[first]) & np.isfinite(values[second])
        shared = (values[first][both], values[second][both])
        if len(set(models[both])) >= LEAST_MODELS and all(np.ptp(one) > 0 for one in shared):
            pairs[first, second] = _correlation(*shared, models[both])
    return pairs


def compared_metrics(cells: Iterable[Cell]) -> list[Metric]:
    """The metrics that take part and have a value in some cell."""
    stored = {
        result.question.metric
        for cell in cells
        for result in cell.results
        if result.status == "measured"
    }
    return [metric for metric in METRICS if metric.name in stored and _takes_part(metric)]


def measured(cell: Cell, metric: Metric) -> Result | None:
    """The cell's result that has a value, None where there is none."""
    results = [] if cell.failure else current(cell, metric)
    return next((result for result in results if result.value is not None), None)


def rank_correlation(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlation where rows count several times.

    Args:
        first: [n] values; ties share their mean rank.
        second: [n] values of the same rows.
        weights: [b, n] how often each row counts.

    Returns:
        [b] correlations; not a number where all rows that count have one value.
    """
    total = weights.sum(axis=1, keepdims=True)
    ranks = [weights @ _before(values).T for values in (first, second)]
    x, y = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks)
    with np.errstate(invalid="ignore"):
        scale = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
        return np.where(scale > 0, (weights * x * y).sum(axis=1) / scale, np.nan)


def _takes_part(metric: Metric) -> bool:
    if metric.name in _RESTATED or metric.table in _LEFT_OUT:
        return False
    return metric.table != "likelihood" or metric.better is not None


def _turned(metric: Metric, cells: Sequence[Cell]) -> np.ndarray:
    results = [measured(cell, metric) for cell in cells]
    values = np.array([np.nan if result is None else result.value for result in results])
    return -values if metric.better == "lower" else values


def _before(values: np.ndarray) -> np.ndarray:
    """[n, n] how much row j adds to the rank of row i: one below, half where they tie."""
    return (values < values[:, None]) + 0.5 * (values == values[:, None])


def _correlation(first: np.ndarray, second: np.ndarray, models: np.ndarray) -> Correlation:
    names, owners = np.unique(models, return_inverse=True)
    value = rank_correlation(first, second, np.ones((1, len(first))))[0]
    drawn = rank_correlation(first, second, _draws(len(names))[:, owners])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Correlation(float(value), float(low), float(high), len(first), len(names))


def _draws(models: int) -> np.ndarray:
    """[REPEATS, models] how often each model is drawn, with replacement."""
    drawn = torch.randint(
        models, (REPEATS, models), generator=generator("agreement of metrics", models)
    )
    return torch.nn.functional.one_hot(drawn, models).sum(dim=1).double().numpy()
