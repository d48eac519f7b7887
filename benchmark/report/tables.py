"""Builds the tables of one data set: which rows and columns, what is best, what is missing."""

import string
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from benchmark.metrics import METRICS
from benchmark.metrics.base import Metric
from benchmark.metrics.base import Table as Kind
from benchmark.report.contents import (
    GROUPS,
    Group,
    answer,
    current,
    group_of,
    models_of,
    settings_key,
)
from benchmark.report.layout import KINDS, Column, Row, Table
from benchmark.report.numbers import count
from benchmark.report.remarks import absent_models, caption, dropped_metrics, units
from benchmark.report.summary import Entry, mark_best, summarise
from benchmark.store import Cell

_UNITLESS = {"count", "modes", "bits/dim"}  # the label says it already


def build_tables(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> list[Table]:
    """All four tables of a data set, from its cells."""
    return [build_table(kind, dataset, cells, models) for kind in KINDS]


def build_table(kind: Kind, dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Table:
    """One table: rows in the order of `models`, columns in the order of METRICS."""
    metrics = [metric for metric in METRICS if metric.table == kind]
    columns = [column for metric in metrics for column in columns_of(metric, cells)]
    entries = build_entries(columns, cells, models)
    letters = _letters(entries)
    by_model = models_of(cells, models)
    rows = {
        model: _row(next(iter(by_model[model].values())), entries[model], letters)
        for model in entries
    }
    groups = _grouped(rows, by_model)
    shown = {column.metric.name for column in columns}
    dropped = [metric for metric in metrics if metric.name not in shown]
    return Table(
        kind=kind,
        dataset=dataset,
        caption=caption(kind, dataset, list(rows.values()), _seeds(cells)),
        columns=tuple(columns),
        groups=groups,
        footnotes={letter: reason for reason, letter in letters.items()},
        remarks=(
            *units(columns),
            *dropped_metrics(dropped, cells),
            *absent_models(models, by_model),
        ),
    )


def columns_of(metric: Metric, cells: Sequence[Cell]) -> list[Column]:
    """One column for each setting under which any cell has a value."""
    found = {
        settings_key(result.question.settings): result.question.settings
        for cell in cells
        if not cell.failure
        for result in current(cell, metric)
        if result.status == "measured"
    }
    return [
        Column(metric, key, _details(metric, found[key]), _identifier(metric, key, len(found)))
        for key in sorted(found)
    ]


def build_entries(
    columns: Sequence[Column], cells: Sequence[Cell], models: Sequence[str]
) -> dict[str, tuple[Entry, ...]]:
    """Every row's entries, best ones marked: {model: one entry a column}."""
    by_model, seeds = models_of(cells, models), _seeds(cells)
    ranked = [
        model
        for model, its_cells in by_model.items()
        if group_of(next(iter(its_cells.values()))) != "Ceilings and floors"
    ]
    finished = []
    for column in columns:
        entries = {
            model: summarise(
                {seed: answer(its.get(seed), column.metric, column.settings) for seed in seeds}
            )
            for model, its in by_model.items()
        }
        marked = mark_best([entries[model] for model in ranked], column.metric.better)
        finished.append(entries | dict(zip(ranked, marked, strict=True)))
    return {model: tuple(entries[model] for entries in finished) for model in by_model}


def _details(metric: Metric, settings: Mapping[str, Any]) -> tuple[str, ...]:
    details = []
    if metric.table != "samples" and metric.unit not in _UNITLESS:
        details.append(metric.unit)
    if settings.get("network"):
        details.append(str(settings["network"]))
    if settings.get("reference", "test") != "test":
        details.append(f"against {settings['reference']}")
    size = settings.get("samples", settings.get("examples"))
    if size is not None:
        details.append(f"n = {count(size)}")
    return tuple(details)


def _identifier(metric: Metric, key: str, settings: int) -> str:
    return metric.name if settings == 1 else f"{metric.name} {key}"


def _letters(entries: Mapping[str, Sequence[Entry]]) -> dict[str, str]:
    """A letter for each reason, in the order in which a reader meets them."""
    reasons = [why for row in entries.values() for entry in row for why in entry.reasons]
    alphabet = string.ascii_lowercase
    names = [*alphabet, *("".join(pair) for pair in product(alphabet, repeat=2))]
    return dict(zip(dict.fromkeys(reasons), names, strict=False))


def _row(cell: Cell, entries: tuple[Entry, ...], letters: Mapping[str, str]) -> Row:
    marks = tuple(tuple(sorted(letters[why] for why in entry.reasons)) for entry in entries)
    return Row(cell.identity.model, cell.role, entries, marks)


def _grouped(
    rows: Mapping[str, Row], by_model: Mapping[str, Mapping[int, Cell]]
) -> tuple[tuple[Group, tuple[Row, ...]], ...]:
    group = {model: group_of(next(iter(cells.values()))) for model, cells in by_model.items()}
    parts = [(name, tuple(rows[m] for m in rows if group[m] == name)) for name in GROUPS]
    return tuple((name, members) for name, members in parts if members)


def _seeds(cells: Sequence[Cell]) -> list[int]:
    return sorted({cell.identity.seed for cell in cells})
