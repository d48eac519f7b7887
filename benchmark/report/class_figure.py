"""The likelihood of each class as points, a row a model: a class that is missed stands out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.class_likelihoods import (
    entries_of_classes,
    missing_classes,
    results_of_classes,
)
from benchmark.report.contents import datasets_of, group_of, models_of
from benchmark.report.curves import svg
from benchmark.report.figures import COLOURS, WARNING_COLOUR, Drawing
from benchmark.report.numbers import listed, written
from benchmark.report.summary import Entry
from benchmark.store import Cell, Result

REACH = 1.96  # standard errors to each side
WIDTH_INCHES, PANEL_INCHES, FOOT_INCHES = 6.2, 0.95, 0.5
ASIDE = 0.22  # of the distance between classes, from a model to the one trained on all classes


@dataclass(frozen=True)
class Whole:
    """What the same models make of the same test examples when no class is kept from them."""

    dataset: str
    entries: Mapping[str, Sequence[Entry]]


def class_figure(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Drawing | None:
    """Mean log-likelihood against class, a panel for each model.

    None where no cell holds it, or there are more classes than the table tells.

    Args:
        dataset: the one that is drawn.
        cells: of it, and of others: where a class is missing in training, one of these that has
            it and the same test images is drawn beside.
        models: the order of panels.
    """
    its = [cell for cell in cells if cell.identity.dataset == dataset]
    found = results_of_classes(its, models)
    if not found:
        return None
    missing = sorted(missing_classes(found))
    whole = whole_of(its, cells, models) if missing else None
    gaps = (f"{model} {written(_gap(results), 2)}" for model, results in found.items())
    return Drawing(
        f"classes_{dataset}.svg",
        svg(_figure(found, its, models, missing, whole)),
        f"Mean log-likelihood of each class of {dataset}, a row of points for each model, with "
        f"how far the lowest lies below the mean of all test examples, nats: {'; '.join(gaps)}.",
        f"Mean log-likelihood of the test examples of each class, nats, ±{REACH} standard errors "
        "of training and measuring; the line is the mean of all. Each row has its own scale."
        f"{_told(missing, whole)}",
        "Classes side by side",
    )


def whole_of(its: Sequence[Cell], cells: Sequence[Cell], models: Sequence[str]) -> Whole | None:
    """The first other data set of the same test images of which every class was learnt."""
    shown = _real(its)
    for name, others in datasets_of(cells, ()).items():
        found = results_of_classes(others, models)
        if _are_equal(shown, _real(others)) and found and not missing_classes(found):
            return Whole(name, entries_of_classes(found, others, models))
    return None


def _real(cells: Sequence[Cell]) -> np.ndarray | None:
    return next((cell.real for cell in cells if cell.real is not None), None)


def _are_equal(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    return first is not None and second is not None and np.array_equal(first, second)


def _told(missing: Sequence[int], whole: Whole | None) -> str:
    if not missing:
        return ""
    red = f" Red: class {listed([*map(str, missing)])}, not in the training split."
    beside = (
        "" if whole is None else f" Hollow, beside: the same model trained on {whole.dataset}."
    )
    return red + beside


def _gap(results: Mapping[int, Result]) -> float:
    return fmean(result.value for result in results.values() if result.value is not None)


def _figure(
    found: Mapping[str, Mapping[int, Result]],
    cells: Sequence[Cell],
    models: Sequence[str],
    missing: Sequence[int],
    whole: Whole | None,
) -> Figure:
    size = (WIDTH_INCHES, len(found) * PANEL_INCHES + FOOT_INCHES)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    panels = figure.subplots(len(found), 1, squeeze=False, sharex=True).ravel()
    by_model = models_of(cells, models)
    entries = entries_of_classes(found, cells, models)
    for panel, (model, results) in zip(panels, found.items(), strict=True):
        colour = COLOURS[group_of(next(iter(by_model[model].values())))]
        overall = fmean(result.details["overall"] for result in results.values())
        panel.axhline(overall, color="#9CA3AF", linewidth=0.8)
        _draw(panel, entries[model], colour, missing)
        if whole is not None:
            _draw(panel, whole.entries.get(model, ()), colour, missing, aside=ASIDE)
        _tidy(panel, model, colour)
    panels[-1].set_xticks(range(max(map(len, entries.values()))))
    panels[-1].set_xlabel("class", fontsize=8)
    return figure


def _draw(
    panel: Axes, entries: Sequence[Entry], colour: str, missing: Sequence[int], aside: float = 0.0
) -> None:
    """A point with its error for each class, hollow where it stands aside."""
    for each, entry in enumerate(entries):
        mean = math.nan if entry.mean is None else entry.mean
        shade = WARNING_COLOUR if each in missing else colour
        panel.errorbar(
            *(each + aside, mean, REACH * entry.error),
            fmt="o",
            color=shade,
            markerfacecolor="white" if aside else shade,
            markersize=4,
            elinewidth=1.0,
        )


def _tidy(panel: Axes, model: str, colour: str) -> None:
    panel.set_ylabel(
        model, fontsize=8, fontweight="bold", color=colour, rotation=0, ha="right", va="center"
    )
    panel.locator_params(axis="y", nbins=3)
    panel.tick_params(labelsize=7, length=2)
    panel.grid(color="#E3E3E3", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
