"""The sentences around a table: how to read it, and what it does not show."""

from collections.abc import Collection, Sequence

from benchmark.metrics.base import Metric
from benchmark.metrics.base import Table as Kind
from benchmark.report.contents import current, one_line, reason_of
from benchmark.report.layout import KINDS, Column, Row
from benchmark.store import Cell

_BOUND_MARKS = {"upper bound": "≤ an upper bound", "lower bound": "≥ a lower bound"}


def caption(kind: Kind, dataset: str, rows: Sequence[Row], seeds: Sequence[int]) -> str:
    """What the table shows, what ± is, what bold is, and what ≤ and ≥ are."""
    entries = [entry for row in rows for entry in row.entries if entry.mean is not None]
    sentences = [f"{KINDS[kind][1]} on {dataset}: {_spread(seeds)}."]
    if any(entry.best for entry in entries):
        sentences.append(
            "Bold: the best of models and baselines, and whatever is within error of it."
        )
    meanings = {entry.meaning for entry in entries}
    if marks := [mark for meaning, mark in _BOUND_MARKS.items() if meaning in meanings]:
        first, *others = marks
        sign, bound = first.split(" ", 1)
        listed = ", ".join([f"{sign} marks {bound}", *others])
        sentences.append(f"{listed}; bounds and exact values are ranked apart.")
    return " ".join(sentences)


def units(columns: Sequence[Column]) -> list[str]:
    """The units of sample metrics, which their heads leave to network and sample count."""
    metrics = {c.metric.label: c.metric.unit for c in columns if c.metric.table == "samples"}
    parts = [f"{label}: {unit}" for label, unit in metrics.items()]
    return [f"Units: {'; '.join(parts)}."] if parts else []


def dropped_metrics(metrics: Sequence[Metric], cells: Sequence[Cell]) -> list[str]:
    """Why each metric without any value has no column, those with one reason together."""
    why: dict[str, list[str]] = {}
    for metric in metrics:
        why.setdefault(_why_dropped(metric, cells), []).append(metric.label)
    return [f"No column for {_listed(labels)}: {reason}." for reason, labels in why.items()]


def absent_models(models: Sequence[str], present: Collection[str]) -> list[str]:
    missing = [model for model in dict.fromkeys(models) if model not in present]
    return [f"Not run on this data set: {_listed(missing)}."] if missing else []


def _why_dropped(metric: Metric, cells: Sequence[Cell]) -> str:
    results = [reason_of(r) for cell in cells for r in current(cell, metric)]
    failures = [f"failed: {one_line(cell.failure)}" for cell in cells if cell.failure]
    reasons = list(dict.fromkeys(results)) or list(dict.fromkeys(failures))
    return "; ".join(reason.rstrip(".") for reason in reasons) or "not measured yet"


def _spread(seeds: Sequence[int]) -> str:
    if len(seeds) > 1:
        return f"mean ± standard deviation over {len(seeds)} training seeds"
    return "value ± standard error of the measurement, one training seed"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
