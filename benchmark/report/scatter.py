"""Likelihood against sample quality, a point for each cell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.metrics.base import Metric
from benchmark.report.agreement import measured
from benchmark.report.contents import group_of, models_of
from benchmark.report.curves import svg
from benchmark.report.figures import COLOURS, Drawing
from benchmark.report.summary import evaluation_error, summarise
from benchmark.store import Cell, Meaning

REACH = 1.96  # standard errors to each side
MARKS: dict[Meaning, tuple[str, str]] = {
    "exact": ("o", "exact"),
    "sandwich": ("D", "sandwich (≈)"),
    "upper bound": ("<", "upper bound (≤): the truth may lie to the left"),
    "estimate": ("s", "estimate"),
}
LINE = 0.05  # of the panel's height, from one name to the next
WIDE_RANGE = 50.0  # of largest over smallest value, beyond which an axis is logarithmic


@dataclass(frozen=True)
class Cloud:
    """One model's points: [seeds, 4], both values and how far their intervals reach."""

    points: np.ndarray
    colour: str
    meaning: Meaning


def likelihood_figure(
    dataset: str,
    cells: Sequence[Cell],
    models: Sequence[str],
    likelihood: Metric,
    quality: Metric,
) -> Drawing | None:
    """One metric against another, a point for each cell and the model's name beside its mean.

    None where fewer than two models have both.
    """
    figure = Figure(figsize=(7.2, 4.4), facecolor="white", layout="constrained")
    panel = figure.subplots()
    drawn: dict[str, Cloud] = {}
    for model, its in models_of(cells, models).items():
        points = [pair for cell in its.values() if (pair := _pair(cell, likelihood, quality))]
        if points:
            colour = COLOURS[group_of(next(iter(its.values())))]
            drawn[model] = Cloud(np.array(points), colour, _meaning(its.values(), likelihood))
    if len(drawn) < 2:
        return None
    for cloud in drawn.values():
        _draw(panel, cloud)
    _axis(panel, "x", likelihood)
    _axis(panel, "y", quality)
    _name(panel, drawn)
    panel.grid(color="#E3E3E3", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    _legend(figure, {cloud.meaning for cloud in drawn.values()})
    return Drawing(
        f"scatter_{dataset}.svg",
        svg(figure),
        f"{quality.label} against {likelihood.label} on {dataset} for: {', '.join(drawn)}.",
        f"{quality.label} against {likelihood.label}, a point for each training seed with "
        f"±{REACH} standard errors of measuring; the better end of both is at the lower left. "
        "Blue: models; orange: baselines; green: ceilings and floors.",
        f"{likelihood.label} against {quality.label}",
    )


def _pair(cell: Cell, *metrics: Metric) -> list[float] | None:
    """Values of both metrics and how far their intervals reach, if the cell has both."""
    results = [found for metric in metrics if (found := measured(cell, metric))]
    values = [found.value for found in results if found.value is not None]
    reaches = [REACH * (evaluation_error(found) or 0.0) for found in results]
    return [*values, *reaches] if len(values) == len(metrics) else None


def _meaning(cells: Iterable[Cell], likelihood: Metric) -> Meaning:
    found = {c.identity.seed: result for c in cells if (result := measured(c, likelihood))}
    meaning = summarise(found).meaning
    return meaning if meaning in MARKS else "estimate"


def _draw(panel: Axes, cloud: Cloud) -> None:
    x, y, x_reach, y_reach = cloud.points.T
    panel.errorbar(
        *(x, y, y_reach, x_reach),
        fmt=MARKS[cloud.meaning][0],
        color=cloud.colour,
        markersize=5,
        elinewidth=0.7,
        alpha=0.8,
    )


def _name(panel: Axes, drawn: Mapping[str, Cloud]) -> None:
    """Names in a column at the right, apart from each other, each tied to its model's middle."""
    panel.set(xlim=panel.get_xlim(), ylim=panel.get_ylim())
    to_panel = panel.transData + panel.transAxes.inverted()
    middles = {model: cloud.points[:, :2].mean(axis=0) for model, cloud in drawn.items()}
    heights = {model: to_panel.transform(middle)[1] for model, middle in middles.items()}
    upwards = sorted(heights, key=lambda model: heights[model])
    for model, height in zip(upwards, apart([heights[m] for m in upwards]), strict=True):
        panel.annotate(
            model,
            middles[model],
            (1.04, height),
            textcoords="axes fraction",
            fontsize=8,
            color=drawn[model].colour,
            va="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": drawn[model].colour},
        )


def apart(heights: Sequence[float]) -> list[float]:
    """Ascending heights moved so that no two are nearer than LINE, and as few leave the panel."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + LINE) if placed else height)
    excess = max(0.0, placed[-1] - 1)
    highest = placed[-1] - excess
    for place in reversed(range(len(placed))):
        highest = min(placed[place], highest)
        placed[place] = highest
        highest -= LINE
    return placed


def _axis(panel: Axes, name: str, metric: Metric) -> None:
    arrow = {"lower": " (lower is better)", "higher": " (higher is better)", None: ""}
    text = f"{metric.label}, {metric.unit}{arrow[metric.better]}"
    (panel.set_xlabel if name == "x" else panel.set_ylabel)(text, fontsize=8)
    values = panel.dataLim.intervalx if name == "x" else panel.dataLim.intervaly
    if values[0] > 0 and values[1] > WIDE_RANGE * values[0]:
        (panel.set_xscale if name == "x" else panel.set_yscale)("log")
    panel.tick_params(labelsize=7.5, length=2)


def _legend(figure: Figure, meanings: set[Meaning]) -> None:
    handles = [
        Line2D([], [], color="#444444", marker=mark, linestyle="", ms=5, label=words)
        for meaning, (mark, words) in MARKS.items()
        if meaning in meanings
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
