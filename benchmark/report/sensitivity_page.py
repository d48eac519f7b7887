"""The page "What does each metric see?": responses to graded damage of real images."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmark.metrics.base import Metric
from benchmark.report.agreement_figures import DARK, colour_of
from benchmark.report.article import Article, Chapter, Listing, Written
from benchmark.report.contents import datasets_of
from benchmark.report.curves import svg
from benchmark.report.figures import Drawing
from benchmark.report.layout import DASH, KINDS
from benchmark.report.numbers import MINUS, listed
from benchmark.report.sensitivity import (
    BACKWARDS,
    BACKWARDS_SHARE,
    INTACT,
    NOTICED,
    Response,
    responses,
)
from benchmark.store import Cell

TITLE = "What does each metric see?"
RULES = (
    (
        "Damage.",
        "Held-out real images, damaged in a few ways, each in grades from slight to strong, are "
        f"given to every metric in place of samples. The row “{INTACT}” is not damaged.",
    ),
    (
        "Response.",
        f"How far a value moved from that of the {INTACT} row, mean over seeds, in units of how "
        "far one value of that row strays by chance: its standard deviation over seeds or its "
        "standard error of measuring, whichever is larger. Positive: the metric says worse, or it "
        "grew if it has no better way.",
    ),
    ("Blind:", f"no grade moves the metric by {NOTICED:g} units, so it does not see this damage."),
    (
        "Monotone:",
        f"the strongest grade moves it by {NOTICED:g} units or more, and on the way there it "
        f"never falls back by more than {BACKWARDS:g} unit or {100 * BACKWARDS_SHARE:g} % of the "
        "largest response.",
    ),
    ("Uneven:", "it notices some grade, but its values do not put the grades in order."),
    (
        "Rewarded:",
        "the largest response says that damage is an improvement. P-values are left out: the "
        "statistics that they judge are here.",
    ),
)
CELL_INCHES = (0.36, 0.24)
_FULL = 3.0  # powers of ten at which colours are full


def sensitivity_page(
    cells: Sequence[Cell], datasets: Sequence[str], models: Sequence[str]
) -> Article | None:
    """The page, None where no rows are graded damage beside an intact one.

    Args:
        cells: of one protocol.
        datasets: their order.
        models: the order of rows.
    """
    chapters = []
    for dataset, its in datasets_of(cells, datasets).items():
        found = responses(its, models)
        if found:
            figure, listing = _figure(dataset, found), _listing(dataset, found)
            chapters.append(Chapter(dataset, _sentences(found), [figure], [listing]))
    return Article("sensitivity", TITLE, RULES, chapters) if chapters else None


def _kinds(found: Sequence[Response]) -> list[str]:
    return list(dict.fromkeys(each.kind for each in found))


def _metrics(found: Sequence[Response]) -> list[Metric]:
    return list({each.metric.name: each.metric for each in found}.values())


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _sentences(found: Sequence[Response]) -> list[str]:
    """For each kind of damage, who puts its grades in order, who is blind, and who is fooled."""
    sentences = []
    for kind in _kinds(found):
        labels: dict[str, list[str]] = {}
        for each in (each for each in found if each.kind == kind):
            labels.setdefault(each.verdict, []).append(each.metric.label)
        parts = [f"{verdict}: {listed(names)}" for verdict, names in sorted(labels.items())]
        sentences.append(f"{_words(kind).capitalize()}. {'; '.join(parts)}.")
    return sentences


def _listing(dataset: str, found: Sequence[Response]) -> Listing:
    verdicts = {(each.metric.name, each.kind): each for each in found}
    kinds, metrics = _kinds(found), _metrics(found)
    groups = [
        (
            KINDS[table][1],
            [
                [(m.label, m.label), *(_written(verdicts.get((m.name, kind))) for kind in kinds)]
                for m in metrics
                if m.table == table
            ],
        )
        for table in dict.fromkeys(metric.table for metric in metrics)
    ]
    head = ["Metric", *map(_words, kinds)]
    return Listing(f"sensitivity_{dataset}", f"Verdicts on {dataset}", head, groups, _csv(found))


def _written(response: Response | None) -> Written:
    if response is None:
        return DASH, None
    largest = max(response.units, key=abs)
    if response.verdict == "blind":
        return "blind", abs(largest)
    return f"{response.verdict} ({_units(largest)})", abs(largest)


def _units(units: float) -> str:
    """Short enough for a square of the heat map."""
    decimals = 1 if abs(units) < 9.95 else 0
    text = (
        f"{round(units, decimals) + 0.0:.{decimals}f}" if abs(units) < 9_999.5 else f"{units:.0e}"
    )
    return text.replace("e+0", "e").replace("-", MINUS)


def _figure(dataset: str, found: Sequence[Response]) -> Drawing:
    metrics, kinds = _metrics(found), _kinds(found)
    grades = {each.kind: each.grades for each in found}
    columns = [(kind, grade) for kind in kinds for grade in grades[kind]]
    width, height = CELL_INCHES
    size = (len(columns) * width + 2.0, len(metrics) * height + 0.9)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    panel = figure.subplots()
    rows = {metric.name: row for row, metric in enumerate(metrics)}
    for each in found:
        for grade, units in zip(each.grades, each.units, strict=True):
            _square(panel, columns.index((each.kind, grade)), rows[each.metric.name], units, each)
    _label(panel, metrics, columns)
    return Drawing(
        f"sensitivity_{dataset}.svg",
        svg(figure),
        f"Heat map of the responses of {len(metrics)} metrics to "
        f"{listed([_words(kind) for kind in kinds])} on {dataset}; the verdicts stand in the "
        "table below, every number in its CSV file.",
        "Responses by grade, slight to strong, in units of the intact row's spread; bold from "
        f"{NOTICED:g} units on. Orange: the metric says worse; blue: better; grey: a metric "
        "without a better way moved.",
        "Responses",
    )


def _square(panel: Axes, column: int, row: int, units: float, response: Response) -> None:
    strength = min(float(np.log10(1 + abs(units))) / _FULL, 1.0)
    grey = 1 - 0.7 * strength
    colour = (grey, grey, grey)
    if response.metric.better is not None:
        colour = colour_of(-strength if units > 0 else strength)
    panel.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=colour, lw=0))
    panel.text(
        column,
        row,
        _units(units),
        ha="center",
        va="center",
        fontsize=6.5,
        fontweight="bold" if abs(units) >= NOTICED else "normal",
        color="white" if strength > DARK else "#222222",
        in_layout=False,
    )


def _label(panel: Axes, metrics: Sequence[Metric], columns: Sequence[tuple[str, int]]) -> None:
    panel.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(metrics) - 0.5, -0.5))
    panel.set_yticks(range(len(metrics)), [metric.label for metric in metrics])
    panel.set_xticks(range(len(columns)), [str(grade) for _, grade in columns])
    panel.tick_params(labelsize=7.5, length=0)
    panel.spines[:].set_visible(False)
    for kind in dict.fromkeys(kind for kind, _ in columns):
        places = [place for place, (name, _) in enumerate(columns) if name == kind]
        panel.axvline(places[-1] + 0.5, color="#555555", linewidth=0.7)
        middle = (places[0] + places[-1]) / 2
        words = _words(kind).replace(" within ", "\nwithin ")
        panel.text(middle, -0.75, words, ha="center", va="bottom", fontsize=7.5)
    for row in range(1, len(metrics)):
        if metrics[row].table != metrics[row - 1].table:
            panel.axhline(row - 0.5, color="#555555", linewidth=0.7)


def _csv(found: Sequence[Response]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "kind", "grade", "response", "verdict"])
    for each in found:
        for grade, units in zip(each.grades, each.units, strict=True):
            writer.writerow([each.metric.name, each.kind, grade, units, each.verdict])
    return text.getvalue()
