"""Values that papers print, beside our own: never merged with them, never ranked."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from benchmark.metrics import METRICS
from benchmark.report.contents import grouped
from benchmark.report.layout import Column
from benchmark.report.numbers import listed
from benchmark.report.parts import Entries, Parts
from benchmark.report.summary import Entry
from benchmark.store import Cell

OURS = "here"
_ABSENT = Entry(None, None, 0.0, None, 0, 0)


class PublishedValue(Protocol):
    """One number of a paper.

    `source` names the paper, `protocol` says how it measured, in a sentence; `value` and `error`
    are in the unit of `metric`, as the paper prints them.
    """

    @property
    def source(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def error(self) -> float | None: ...


def beside_published(
    published: Sequence[PublishedValue],
    columns: Sequence[Column],
    entries: Entries,
    cells: Sequence[Cell],
    models: Sequence[str],
) -> Parts | None:
    """A row for each model with a published value: for each metric ours, then the papers'.

    Args:
        published: of one data set.
        columns: of everything measured on it, with
        entries: one a column.
        cells: what was run.
        models: the order of rows.

    Returns:
        None where nothing is published.
    """
    if not published:
        return None
    shown: list[Column] = []
    rows: dict[str, list[Entry]] = {each.model: [] for each in published}
    for name in _metric_names(published):
        for place, column in enumerate(columns):
            if column.source and column.source.metric.name == name:
                shown.append(replace(column, details=(OURS, *column.details), source=None))
                for model, row in rows.items():
                    row.append(_ours(entries, model, place))
        of_metric = [each for each in published if each.metric == name]
        for source, protocol in dict.fromkeys((e.source, e.protocol) for e in of_metric):
            shown.append(_their_column(name, source))
            alike = [e for e in of_metric if (e.source, e.protocol) == (source, protocol)]
            for model, row in rows.items():
                row.append(_theirs(alike, model))
    return Parts(
        "published",
        "Published values beside ours",
        tuple(shown),
        {model: tuple(row) for model, row in rows.items()},
        _groups(rows, cells, models),
        _remarks(published),
    )


def _metric_names(published: Sequence[PublishedValue]) -> list[str]:
    given = {each.metric for each in published}
    known = [metric.name for metric in METRICS if metric.name in given]
    return known + sorted(given - set(known))


def _their_column(name: str, source: str) -> Column:
    metric = next((metric for metric in METRICS if metric.name == name), None)
    identifier = f"{name} ({source})"
    if metric is None:
        return Column(_label(name), "as published", None, 2, (_short(source),), identifier)
    details = (_short(source), metric.unit)
    return Column(metric.label, metric.unit, metric.better, metric.decimals, details, identifier)


def _ours(entries: Entries, model: str, place: int) -> Entry:
    if model not in entries:
        return replace(_ABSENT, reasons=("not run",))
    return replace(entries[model][place], best=False)


def _label(name: str) -> str:
    return next((metric.label for metric in METRICS if metric.name == name), name)


def _short(source: str) -> str:
    """`Wu et al. 2017` of `Wu et al. 2017, arXiv:1611.04273, Table 2`."""
    return source.split(",")[0]


def _theirs(alike: Sequence[PublishedValue], model: str) -> Entry:
    for each in alike:
        if each.model == model:
            return Entry(each.value, each.error, each.error or 0.0, None, 1, 1)
    return replace(_ABSENT, reasons=("the paper prints none",))


def _groups(
    rows: Collection[str], cells: Sequence[Cell], models: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    ran = grouped(cells, models, only=rows)
    known = {model for _, names in ran for model in names}
    absent = tuple(model for model in rows if model not in known)
    return tuple((title, names) for title, names in (*ran, ("Not run", absent)) if names)


def _remarks(published: Sequence[PublishedValue]) -> tuple[str, ...]:
    protocols: dict[tuple[str, str], dict[str, None]] = {}
    for each in published:
        protocols.setdefault((each.source, each.protocol), {})[_label(each.metric)] = None
    return (
        *(
            f"{listed(list(labels))} of {source}: {protocol.rstrip('.')}."
            for (source, protocol), labels in protocols.items()
        ),
        "± of a paper's value is what the paper prints. Values of different protocols stand "
        "beside each other to be looked at; none is ranked against another.",
    )
