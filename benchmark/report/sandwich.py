"""The sandwich closing: lower and upper bound of each decoder as the annealing gets finer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from benchmark.report.contents import models_of
from benchmark.report.curves import svg
from benchmark.report.diagnostics import sandwich_of
from benchmark.report.figures import Drawing
from benchmark.report.numbers import written
from benchmark.store import Cell, Result

REACH = 1.96  # standard errors to each side
COLUMNS = 4  # decoders side by side
PANEL_INCHES = (2.3, 1.75)
HISTOGRAM_INCHES = 1.0
BOUNDS = {  # key of the curve, colour, mark, words
    "upper": ("#B34700", "v", "upper bound (reverse chains)"),
    "lower": ("#0072B2", "^", "lower bound (AIS)"),
}
_FAINT = "#E3E3E3"


def sandwich_figure(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Drawing | None:
    """Both bounds against the number of temperatures, and the weights, at the lowest seed.

    None where no cell holds a BDMC curve.
    """
    gaps: dict[str, Result] = {}
    seeds: dict[int, None] = {}
    for model, its in models_of(cells, models).items():
        for seed, gap in ((seed, sandwich_of(cell)) for seed, cell in its.items()):
            if gap is not None:
                gaps.setdefault(model, gap)
                seeds[seed] = None
                break
    if not gaps:
        return None
    chosen = f"seed {', '.join(map(str, sorted(seeds)))}"
    return Drawing(
        f"ais_{dataset}.svg",
        svg(_figure(gaps)),
        f"AIS lower bound and BDMC upper bound of log p(x) on data simulated from each model of "
        f"{dataset}, against the number of temperatures, with the gap at the end: "
        f"{'; '.join(f'{model} {_gap(gap)}' for model, gap in gaps.items())}.",
        "Top: mean log-likelihood between its two bounds, on data simulated from the model, "
        f"against the number of temperatures; bands are ±{REACH} standard errors of the distance "
        "to where they meet, over examples; the number is the gap at the end. Bottom: log weights "
        f"of the chains, normalised; the narrower, the better. {chosen.capitalize()}.",
        "Sandwich of each decoder",
    )


def _figure(gaps: Mapping[str, Result]) -> Figure:
    rows = math.ceil(len(gaps) / COLUMNS)
    columns = max(2, math.ceil(len(gaps) / rows))
    size = (columns * PANEL_INCHES[0], rows * (PANEL_INCHES[1] + HISTOGRAM_INCHES) + 0.3)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    ratios = [PANEL_INCHES[1], HISTOGRAM_INCHES] * rows
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=ratios)
    for panel in panels.ravel():
        panel.set_axis_off()
    for index, (model, gap) in enumerate(gaps.items()):
        row, column = divmod(index, columns)
        top, bottom = panels[2 * row, column], panels[2 * row + 1, column]
        _draw_bounds(top, gap, named=column == 0)
        top.set_title(model, fontsize=9, fontweight="bold")
        _draw_weights(bottom, gap.details.get("weight_histogram"), named=column == 0)
    handles = [
        Line2D([], [], color=colour, marker=mark, markersize=3, label=words)
        for colour, mark, words in BOUNDS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _draw_bounds(panel: Axes, gap: Result, *, named: bool) -> None:
    curve = gap.details["curve"]
    temperatures = np.asarray(curve["temperatures"], dtype=float)
    for name, (colour, mark, _) in BOUNDS.items():
        values = np.asarray(curve[name], dtype=float)
        reach = REACH * np.asarray(curve.get(f"{name}_error", np.zeros_like(values)), dtype=float)
        panel.plot(temperatures, values, color=colour, marker=mark, markersize=3, linewidth=0.9)
        panel.fill_between(
            temperatures, values - reach, values + reach, color=colour, alpha=0.15, linewidth=0
        )
    panel.set_axis_on()
    panel.set_xscale("log")
    panel.set_xticks(temperatures, [written(value, 0) for value in temperatures], rotation=30)
    panel.xaxis.set_minor_locator(NullLocator())
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
    panel.text(
        *(0.96, 0.94),
        f"gap {_gap(gap)}",
        transform=panel.transAxes,
        fontsize=8,
        ha="right",
        va="top",
        bbox=box,
    )
    if named:
        panel.set_ylabel("log p(x), nats", fontsize=8)
    panel.set_xlabel("temperatures", fontsize=7, labelpad=1)
    _tidy(panel)


def _draw_weights(panel: Axes, histogram: Mapping[str, Any] | None, *, named: bool) -> None:
    if not histogram:
        return
    panel.set_axis_on()
    panel.stairs(histogram["counts"], histogram["edges"], fill=True, color="#6B7280")
    panel.locator_params(nbins=4)
    panel.set_xlabel("log weight, nats", fontsize=7, labelpad=1)
    if named:
        panel.set_ylabel("chains", fontsize=8)
    _tidy(panel)


def _tidy(panel: Axes) -> None:
    panel.tick_params(labelsize=7, length=2)
    panel.grid(color=_FAINT, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _gap(gap: Result) -> str:
    assert gap.value is not None  # it was measured
    return written(gap.value, 2)
