"""Rank correlations between the metrics over the cells of a data set, with their intervals."""

from collections.abc import Iterable, Mapping, Sequence
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
    compared = _Compared(values, models)
    pairs = {}
    for first, second in combinations(values, 2):
        both = np.isfinite(values[first]) & np.isfinite(values[second])
        shared = (values[first][both], values[second][both])
        if len(set(models[both])) >= LEAST_MODELS and all(np.ptp(one) > 0 for one in shared):
            pairs[first, second] = compared.correlation(first, second, both)
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
    return _agreement(_Ranks(first, weights), _Ranks(second, weights), weights)


class _Ranks:
    """A metric's ranks of n rows in b bootstrap samples: [b, n] about their mean, and [b] squares.

    They serve all pairs that the metric is in.
    """

    def __init__(self, values: np.ndarray, weights: np.ndarray) -> None:
        ranks = weights @ _before(values).T
        total = weights.sum(axis=1, keepdims=True)
        self.centred = ranks - (weights * ranks).sum(axis=1, keepdims=True) / total
        self.squares = (weights * self.centred**2).sum(axis=1)


def _agreement(first: _Ranks, second: _Ranks, weights: np.ndarray) -> np.ndarray:
    products = (weights * first.centred * second.centred).sum(axis=1)
    with np.errstate(invalid="ignore"):
        scale = np.sqrt(first.squares * second.squares)
        return np.where(scale > 0, products / scale, np.nan)


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


class _Compared:
    """The ranks of all metrics on those rows that two of them share, each computed once.

    Args:
        values: {metric: [n] values, NaN where there is none}.
        models: [n] whose row it is.
    """

    def __init__(self, values: Mapping[str, np.ndarray], models: np.ndarray) -> None:
        self._values, self._models = values, models
        self._weights: dict[bytes, np.ndarray] = {}
        self._ranks: dict[tuple[str, bytes], _Ranks] = {}

    def correlation(self, first: str, second: str, rows: np.ndarray) -> Correlation:
        """Of two metrics on the rows [n], booleans, where both have values."""
        names, owners = np.unique(self._models[rows], return_inverse=True)
        key = rows.tobytes()
        if key not in self._weights:
            drawn = _draws(len(names))[:, owners]  # after every row once, for the value itself
            self._weights[key] = np.concatenate([np.ones((1, len(owners))), drawn])
        ranks = self._of(first, rows), self._of(second, rows)
        found = _agreement(ranks[0], ranks[1], self._weights[key])
        low, high = np.nanquantile(found[1:], [0.025, 0.975])
        return Correlation(float(found[0]), float(low), float(high), len(owners), len(names))

    def _of(self, name: str, rows: np.ndarray) -> _Ranks:
        key = (name, rows.tobytes())
        if key not in self._ranks:
            self._ranks[key] = _Ranks(self._values[name][rows], self._weights[rows.tobytes()])
        return self._ranks[key]


def _draws(models: int) -> np.ndarray:
    """[REPEATS, models] how often each model is drawn, with replacement."""
    drawn = torch.randint(
        models, (REPEATS, models), generator=generator("agreement of metrics", models)
    )
    return torch.nn.functional.one_hot(drawn, models).sum(dim=1).double().numpy()
