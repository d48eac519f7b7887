"""results.csv: the long table behind every other, one row for each value or its absence."""

from collections.abc import Iterator, Sequence

import pandas as pd

from benchmark.metrics.base import Metric
from benchmark.report.contents import asked, current, datasets_of, models_of, one_line
from benchmark.store import Cell, Result

COLUMNS = (
    *("dataset", "model", "seed", "metric", "meaning", "value", "standard_error", "low", "high"),
    *("n", "status", "reason", "seconds", "unit", "network", "budget"),
)


def long_table(cells: Sequence[Cell], models: Sequence[str], datasets: Sequence[str]) -> str:
    """The table as CSV text, one row a (dataset, model, seed, metric).

    A metric measured under several settings has a row for each, one that no cell of a data set
    answers has none; a failed cell has a row for every metric, with its reason; missing numbers
    are empty.
    """
    rows = [
        row
        for its_cells in datasets_of(cells, datasets).values()
        for by_seed in models_of(its_cells, models).values()
        for cell in by_seed.values()
        for row in _rows(cell, asked(its_cells))
    ]
    # As objects: a column with gaps keeps its whole numbers whole.
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object).to_csv(index=False)


def _rows(cell: Cell, metrics: Sequence[Metric]) -> Iterator[dict[str, object]]:
    identity = cell.identity
    shared = {
        "dataset": identity.dataset,
        "model": identity.model,
        "seed": identity.seed,
        "budget": identity.budget,
    }
    for metric in metrics:
        labels = {**shared, "metric": metric.name, "unit": metric.unit}
        for answer in _answers(cell, metric):
            yield labels | answer


def _answers(cell: Cell, metric: Metric) -> list[dict[str, object]]:
    if cell.failure:
        return [{"status": "failed", "reason": one_line(cell.failure)}]
    results = [_fields(result) for result in current(cell, metric)]
    return results or [{"status": "not measured", "reason": "not measured yet"}]


def _fields(result: Result) -> dict[str, object]:
    return {
        "meaning": result.meaning,
        "value": result.value,
        "standard_error": result.standard_error,
        "low": result.low,
        "high": result.high,
        "n": result.n,
        "status": result.status,
        "reason": one_line(result.reason) if result.reason else None,
        "seconds": result.seconds,
        "network": result.question.settings.get("network"),
    }
