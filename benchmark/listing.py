"""What `list` and `check` print."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.conformance import Check
from benchmark.data import DATASETS
from benchmark.metrics import METRICS
from benchmark.suite import load_suite, suite_names

ARROW = {"lower": "lower", "higher": "higher", None: ""}


def print_listing(what: str | None, suite: str, console: Console) -> None:
    """Prints one of the listings, or all."""
    tables = {
        "models": lambda: _models(suite),
        "metrics": _metrics,
        "data": _data,
        "suites": _suites,
    }
    for index, name in enumerate([what] if what else tables):
        if index:
            console.print()
        console.print(tables[name]())


def print_checks(model: str, checks: Sequence[Check], console: Console) -> None:
    """Prints what was found of a model, a line each."""
    marks = {True: "[green]kept[/]", False: "[red]BROKEN[/]", None: "[dim]--[/]"}
    table = _table(f"{model}", "", "promise", "seen")
    for check in checks:
        table.add_row(marks[check.kept], escape(check.promise), escape(check.seen))
    console.print(table)
    broken = sum(check.kept is False for check in checks)
    console.print(f"{broken} broken" if broken else "Every promise that could be checked is kept.")


def _models(suite: str) -> Table:
    table = _table(f"Models of the suite {suite}", "model", "role", "factory")
    for model in load_suite(suite).models:
        table.add_row(model.name, model.role, model.factory)
    return table


def _metrics() -> Table:
    table = _table("Metrics, in the order of the tables", "metric", "table", "unit", "better", "v")
    for metric in METRICS:
        table.add_row(
            metric.name, metric.table, metric.unit, ARROW[metric.better], str(metric.version)
        )
    return table


def _data() -> Table:
    table = _table("Data sets", "data set", "what it is")
    for source in DATASETS:
        table.add_row(source.name, source.description)
    table.add_row("PATH", "your own: a folder of images, or an .npz with `images`")
    return table


def _suites() -> Table:
    table = _table("Suites", "suite", "data sets", "seeds", "what it is")
    for name in suite_names():
        suite = load_suite(name)
        datasets = ", ".join(entry.name for entry in suite.datasets)
        table.add_row(name, datasets, str(len(suite.seeds)), suite.description)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
