"""Builds the tables of one data set: which rows and columns, what is best, what is missing."""

import string
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from benchmark.metrics import METRICS
from benchmark.metrics.base import OF_SAMPLES, Metric
from benchmark.metrics.base import Table as Kind
from benchmark.report.class_likelihoods import class_likelihoods
from benchmark.report.contents import (
    APART,
    answer,
    asked,
    current,
    diverged_at,
    group_of,
    grouped,
    is_p_value,
    models_of,
    seeds_of,
    settings_key,
)
from benchmark.report.diagnostics import diagnostics
from benchmark.report.layout import KINDS, Column, Row, Source, Table
from benchmark.report.likelihood import judged
from benchmark.report.mode_gaps import mode_gaps
from benchmark.report.numbers import count
from benchmark.report.p_values import in_words
from benchmark.report.parts import Entries, Parts
from benchmark.report.published import PublishedValue, beside_published
from benchmark.report.remarks import (
    absent_models,
    caption,
    copying,
    diverged,
    dropped_metrics,
    floors,
    p_values,
    trained_together,
    units,
    warnings,
)
from benchmark.report.summary import mark_best, summarise
from benchmark.store import Cell

_UNITLESS = {"count", "modes", "bits/dim"}  # the label says it already
_NEVER_BOLD: tuple[Kind, ...] = ("tests",)  # a test rejects or not: none passes it best
_FROM_DETAILS = (diagnostics, mode_gaps, class_likelihoods)
_OF_EXAMPLES: tuple[Kind, ...] = ("likelihood", "bounds")  # means over as many as a result says


def build_tables(
    dataset: str,
    cells: Sequence[Cell],
    models: Sequence[str],
    published: Sequence[PublishedValue] = (),
) -> list[Table]:
    """The tables of a data set that its cells answer; `published` are values of papers on it."""
    kinds = {metric.table for metric in asked(cells)}
    tables = {kind: build_table(kind, dataset, cells, models) for kind in KINDS if kind in kinds}
    columns = [column for metric in METRICS for column in columns_of(metric, cells)]
    entries = build_entries(columns, cells, models)
    beside = beside_published(published, columns, entries, cells, models)
    extra = [
        _assembled(parts, dataset, cells, models)
        for parts in (beside, *(make(cells, models) for make in _FROM_DETAILS))
        if parts is not None
    ]
    likelihoods = [tables.pop(kind) for kind in _OF_EXAMPLES if kind in tables]
    return [*likelihoods, *extra, *tables.values()]


def build_table(kind: Kind, dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Table:
    """One table: rows in the order of `models`, columns in the order of METRICS.

    Rows of the likelihood table are grouped by what their values mean and sorted by value.
    """
    metrics = [metric for metric in asked(cells) if metric.table == kind]
    columns = [column for metric in metrics for column in columns_of(metric, cells)]
    shown = {column.source.metric.name for column in columns if column.source}
    dropped = [metric for metric in metrics if metric.name not in shown]
    name, title = KINDS[kind]
    remarks = (
        *([*diverged(cells, models), *floors(cells)] if kind == "modes" else ()),
        *(trained_together(cells, models) if kind == "cost" else ()),
        *units(columns),
        *p_values(columns, seeds_of(cells)),
        *copying(metrics, cells),
        *warnings(metrics, cells),
        *dropped_metrics(dropped, cells),
        *absent_models(models, models_of(cells, models)),
    )
    entries = build_entries(columns, cells, models)
    parts = Parts(name, title, tuple(columns), entries, grouped(cells, models), remarks)
    parts = judged(parts, cells, models) if kind == "likelihood" else parts
    return _assembled(parts, dataset, cells, models)


def columns_of(metric: Metric, cells: Sequence[Cell]) -> list[Column]:
    """One column for each setting under which any cell has a value.

    What training that diverged counts as is no reason for a column, if any went through.
    """
    finished = [cell for cell in cells if not cell.failure]
    went_through = [cell for cell in finished if diverged_at(cell) is None]
    measured = [
        result
        for cell in went_through or finished
        for result in current(cell, metric)
        if result.status == "measured"
    ]
    found = {settings_key(r.question.settings): r.question.settings for r in measured}
    examples = {result.n for result in measured}
    return [
        Column(
            metric.label,
            metric.unit,
            metric.better,
            metric.decimals,
            _details(metric, found[key], examples.pop() if len(examples) == 1 else None),
            metric.name if len(found) == 1 else f"{metric.name} {key}",
            Source(metric, key),
        )
        for key in sorted(found)
    ]


def build_entries(
    columns: Sequence[Column], cells: Sequence[Cell], models: Sequence[str]
) -> Entries:
    """Every row's entries, best ones marked: {model: one entry a column}."""
    by_model, seeds = models_of(cells, models), seeds_of(cells)
    ranked = [
        model for model, its in by_model.items() if group_of(next(iter(its.values()))) != APART
    ]
    finished = []
    for column in columns:
        source = column.source
        assert source is not None
        entries = {
            model: summarise(
                {seed: answer(its.get(seed), source.metric, source.settings) for seed in seeds}
            )
            for model, its in by_model.items()
        }
        if is_p_value(source.metric):
            entries = {model: in_words(entry, column.decimals) for model, entry in entries.items()}
        better = None if source.metric.table in _NEVER_BOLD else column.better
        marked = mark_best([entries[model] for model in ranked], better)
        finished.append(entries | dict(zip(ranked, marked, strict=True)))
    return {model: tuple(entries[model] for entries in finished) for model in by_model}


def _assembled(parts: Parts, dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Table:
    """Letters for the reasons, rows in their groups, and the caption."""
    letters = _letters(parts)
    firsts = {model: next(iter(its.values())) for model, its in models_of(cells, models).items()}
    groups = tuple(
        (title, tuple(_row(name, firsts.get(name), parts, title, letters) for name in names))
        for title, names in parts.groups
    )
    return Table(
        name=parts.name,
        title=parts.title,
        dataset=dataset,
        caption=caption(parts, dataset, seeds_of(cells)),
        columns=parts.columns,
        groups=groups,
        footnotes={letter: reason for reason, letter in letters.items()},
        remarks=parts.remarks,
    )


def _details(metric: Metric, settings: Mapping[str, Any], examples: int | None) -> tuple[str, ...]:
    details = []
    if metric.unit == "chains" and "chains" in settings:
        details.append(f"of {settings['chains']}")
    elif metric.table not in OF_SAMPLES and metric.unit not in _UNITLESS:
        details.append(metric.unit)
    if settings.get("network"):
        details.append(str(settings["network"]))
    if settings.get("reference", "test") != "test":
        details.append(f"against {settings['reference']}")
    return (*details, *_sizes(metric, settings, examples))


def _sizes(metric: Metric, settings: Mapping[str, Any], examples: int | None) -> list[str]:
    """How much a value rests on: n, and what else moves it besides."""
    n = examples if metric.table in _OF_EXAMPLES else settings.get("samples")
    sizes = [] if n is None else [f"n = {count(n)}"]
    if metric.name == "bdmc_gap" and sizes:
        return [f"{sizes[0]} simulated"]
    if metric.table == "bounds":  # beside the likelihood a remark says it
        sizes += [
            f"{count(settings[name])} {name}"
            for name in ("samples", "chains", "temperatures")
            if name in settings
        ]
    return sizes


def _letters(parts: Parts) -> dict[str, str]:
    """A letter for each reason, in the order in which a reader meets them."""
    rows = [parts.entries[model] for _, names in parts.groups for model in names]
    reasons = [why for row in rows for entry in row for why in entry.reasons]
    alphabet = string.ascii_lowercase
    names = [*alphabet, *("".join(pair) for pair in product(alphabet, repeat=2))]
    return dict(zip(dict.fromkeys(reasons), names, strict=False))


def _row(
    model: str, cell: Cell | None, parts: Parts, title: str, letters: Mapping[str, str]
) -> Row:
    entries = parts.entries[model]
    marks = tuple(tuple(sorted(letters[why] for why in entry.reasons)) for entry in entries)
    role = cell.role if cell else "model"
    says_itself = role == "model" or (role == "baseline" and title == "Baselines")
    return Row(model, role, "" if says_itself else role, entries, marks)
