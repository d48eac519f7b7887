"""Likelihood against sample quality, a point for each cell."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.metrics.base import Metric
from benchmark.report.agreement import measured
from benchmark.report.contents import group_of, models_of
from benchmark.report.curves import svg
from benchmark.report.figures import COLOURS, DOTS_PER_INCH, Drawing
from benchmark.report.spacing import Margins, spaced
from benchmark.report.spans import Span, span
from benchmark.report.summary import evaluation_error, summarise
from benchmark.store import Cell, Meaning

REACH = 1.96  # standard errors to each side
MARKS: dict[Meaning, tuple[str, str]] = {
    "exact": ("o", "exact"),
    "sandwich": ("D", "sandwich (≈)"),
    "upper bound": ("<", "upper bound (≤): the truth may lie to the left"),
    "estimate": ("s", "estimate"),
}
WIDTH_INCHES, LEAST_HEIGHT_INCHES = 5.2, 3.4  # of the panel
NAME_INCHES, CHARACTER_INCHES = 0.16, 0.068  # from one name to the next; of a name's width
LEGEND_ROW_INCHES = 0.18
MANY_TICKS = 1000.0  # largest over smallest value, beyond which powers of ten are enough
INK = "#444444"


@dataclass(frozen=True)
class Cloud:
    """One model's points: [seeds, 4], both values and how far their intervals reach."""

    points: np.ndarray
    colour: str
    meaning: Meaning

    @property
    def middle(self) -> tuple[float, float]:
        """The medians over seeds of both values."""
        return float(np.median(self.points[:, 0])), float(np.median(self.points[:, 1]))


def likelihood_figure(
    dataset: str,
    cells: Sequence[Cell],
    models: Sequence[str],
    likelihood: Metric,
    quality: Metric,
) -> Drawing | None:
    """One metric against another, a point for each cell and the model's name beside its median.

    None where fewer than two models have both.
    """
    drawn = _clouds(cells, models, likelihood, quality)
    if len(drawn) < 2:
        return None
    everything = np.concatenate([cloud.points for cloud in drawn.values()])
    middles = np.array([cloud.middle for cloud in drawn.values()])
    across, up = (span(everything[:, axis], middles[:, axis]) for axis in (0, 1))
    outside = int((across.misses(everything[:, 0]) | up.misses(everything[:, 1])).sum())
    legend = _legend({cloud.meaning for cloud in drawn.values()}, outside=outside > 0)
    figure, panel = _panel(drawn, math.ceil(len(legend) / 2))
    _axis(panel, "x", likelihood, across)
    _axis(panel, "y", quality, up)
    for cloud in drawn.values():
        _draw(panel, cloud, across, up)
    _name(panel, drawn)
    figure.legend(handles=legend, loc="lower center", ncols=2, fontsize=8, frameon=False)
    where = f" Open, at the edge: outside the panel ({outside} of {len(everything)})."
    return Drawing(
        f"scatter_{dataset}.svg",
        svg(figure),
        f"{quality.label} against {likelihood.label} on {dataset} for: {', '.join(drawn)}.",
        f"{quality.label} against {likelihood.label}: faint, a point for each training seed with "
        f"±{REACH} standard errors of measuring; full, the median over seeds. The better end of "
        "both is at the lower left. Blue: models; orange: baselines; green: ceilings and floors."
        f"{where if outside else ''}",
        f"{likelihood.label} against {quality.label}",
    )


def _panel(drawn: Mapping[str, Cloud], legend_rows: int) -> tuple[Figure, Axes]:
    """A panel as high as its column of names needs, with room for that beside it."""
    around = Margins(
        left=0.75,
        right=0.4 + CHARACTER_INCHES * max(map(len, drawn)),
        top=0.12,
        bottom=0.5 + LEGEND_ROW_INCHES * legend_rows,
    )
    size = (WIDTH_INCHES, _height(drawn))
    figure, grid = spaced((1, 1), size, (0.0, 0.0), around, DOTS_PER_INCH)
    panel = figure.add_subplot(grid[0, 0])
    panel.grid(color="#E3E3E3", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    return figure, panel


def _clouds(
    cells: Sequence[Cell], models: Sequence[str], likelihood: Metric, quality: Metric
) -> dict[str, Cloud]:
    drawn = {}
    for model, by_seed in models_of(cells, models).items():
        its = list(by_seed.values())
        points = [pair for cell in its if (pair := _pair(cell, likelihood, quality))]
        if points:
            colour = COLOURS[group_of(its[0])]
            drawn[model] = Cloud(np.array(points), colour, _meaning(its, likelihood))
    return drawn


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


def _height(drawn: Mapping[str, Cloud]) -> float:
    return max(LEAST_HEIGHT_INCHES, NAME_INCHES * len(drawn))


def _draw(panel: Axes, cloud: Cloud, across: Span, up: Span) -> None:
    x, y, x_reach, y_reach = cloud.points.T
    mark = MARKS[cloud.meaning][0]
    missed = across.misses(x) | up.misses(y)
    panel.errorbar(
        *(x[~missed], y[~missed], y_reach[~missed], x_reach[~missed]),
        fmt=mark,
        color=cloud.colour,
        markersize=4,
        markeredgewidth=0,
        elinewidth=0.7,
        alpha=0.35,
    )
    panel.plot(
        np.clip(x[missed], across.low, across.high),
        np.clip(y[missed], up.low, up.high),
        mark,
        color=cloud.colour,
        markersize=4,
        markerfacecolor="white",
        clip_on=False,
    )
    panel.plot(*cloud.middle, mark, color=cloud.colour, ms=5.5, mec="white", mew=0.6, zorder=4)


def _name(panel: Axes, drawn: Mapping[str, Cloud]) -> None:
    """Names in a column at the right, apart from each other, each tied to its model's median."""
    to_panel = panel.transData + panel.transAxes.inverted()
    heights = {model: to_panel.transform(cloud.middle)[1] for model, cloud in drawn.items()}
    upwards = sorted(heights, key=lambda model: heights[model])
    places = apart([heights[model] for model in upwards], NAME_INCHES / _height(drawn))
    for model, height in zip(upwards, places, strict=True):
        panel.annotate(
            model,
            drawn[model].middle,
            (1.04, height),
            textcoords="axes fraction",
            fontsize=8,
            color=drawn[model].colour,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "linewidth": 0.5,
                "color": drawn[model].colour,
                "alpha": 0.45,
                "relpos": (0.0, 0.5),
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def apart(heights: Sequence[float], line: float) -> list[float]:
    """Ascending heights in [0, 1] moved so that no two are nearer than a line.

    All stay within [0, 1] where as many lines fit there.
    """
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + line) if placed else height)
    highest = 1.0
    for place in reversed(range(len(placed))):
        placed[place] = highest = min(placed[place], highest)
        highest -= line
    return placed


def _axis(panel: Axes, name: str, metric: Metric, shown: Span) -> None:
    arrow = {"lower": " (lower is better)", "higher": " (higher is better)", None: ""}
    text = f"{metric.label}, {metric.unit}{arrow[metric.better]}"
    scale = "log" if shown.is_log else "linear"
    panel.set(**{f"{name}scale": scale, f"{name}lim": (shown.low, shown.high)})
    (panel.set_xlabel if name == "x" else panel.set_ylabel)(text, fontsize=8)
    panel.tick_params(labelsize=7.5, length=2)
    if shown.is_log:
        axis = panel.xaxis if name == "x" else panel.yaxis
        subs = (1.0, 2.0, 5.0) if shown.high < MANY_TICKS * shown.low else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _legend(meanings: set[Meaning], *, outside: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=INK, marker=mark, linestyle="", ms=5, label=words)
        for meaning, (mark, words) in MARKS.items()
        if meaning in meanings
    ]
    if outside:
        words = "outside the panel"
        handles.append(
            Line2D([], [], color=INK, marker="o", ls="", ms=5, mfc="white", label=words)
        )
    return handles
