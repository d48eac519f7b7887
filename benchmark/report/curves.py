"""How training went: one panel for each loss of each trained model."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.report.contents import models_of
from benchmark.report.figures import DOTS_PER_INCH, Drawing, small_png
from benchmark.report.spacing import Margins, spaced
from benchmark.store import Cell

SEED_COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"),
    *("#D55E00", "#222222", "#8C6D31", "#7B3294", "#A6A6A6"),
)
LEGEND_COLUMNS, LEGEND_ROW_INCHES = 5, 0.17  # as many as two panels have room for
MOST_POINTS = 120  # of a line; longer curves are averaged over equal stretches
MOST_LINES = 120  # of a figure of lines; more of them are a picture, in a quarter of the bytes
PANEL_INCHES = (2.3, 1.45)  # with what is written around it
AROUND = Margins(left=0.75, right=0.1, top=0.25, bottom=0.3)
BETWEEN = (0.5, 0.45)  # panels of a row, of a column

Curve = Mapping[str, Sequence[float]]


def curves_figure(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Drawing | None:
    """The stored losses, a row for each model, a panel for each loss, a line for each seed.

    None where no cell holds a curve.
    """
    curves = {
        model: found
        for model, by_seed in models_of(cells, models).items()
        if (found := {s: c.training["curve"] for s, c in by_seed.items() if _has_curve(c)})
    }
    if not curves:
        return None
    losses = {model: _losses(by_seed.values()) for model, by_seed in curves.items()}
    columns = max(map(len, losses.values()))
    seeds = sorted({seed for by_seed in curves.values() for seed in by_seed})
    colours = dict(zip(seeds, cycle(SEED_COLOURS), strict=False))
    rows = math.ceil(len(colours) / LEGEND_COLUMNS)
    figure, grid = spaced(
        (len(curves), max(columns, 2)),
        PANEL_INCHES,
        BETWEEN,
        replace(AROUND, bottom=AROUND.bottom + LEGEND_ROW_INCHES * rows),
        DOTS_PER_INCH,
    )
    for row, (model, by_seed) in enumerate(curves.items()):
        for column, loss in enumerate(losses[model]):
            panel = figure.add_subplot(grid[row, column])
            _draw(panel, loss, by_seed, colours)
            if column == 0:
                panel.set_ylabel(model, fontsize=9, fontweight="bold")
    _legend(figure, colours)
    is_crowded = sum(len(losses[model]) * len(its) for model, its in curves.items()) > MOST_LINES
    return Drawing(
        f"curves_{dataset}.{'png' if is_crowded else 'svg'}",
        small_png(figure) if is_crowded else svg(figure),
        f"Training losses against step on {dataset} for: {', '.join(curves)}.",
        "Training losses against step, a line for each training seed; long curves are averaged "
        f"over stretches, {MOST_POINTS} to a curve.",
        "Training curves",
    )


def svg(figure: Figure) -> bytes:
    """The figure's bytes, the same in every run: no date, and ids from a fixed salt."""
    content = io.BytesIO()
    canvas = FigureCanvasSVG(figure)
    with matplotlib.rc_context({"svg.hashsalt": "benchmark"}):
        # `savefig` would draw it once more, for its size.
        canvas.print_svg(content, metadata={"Date": None, "Creator": None})
    return content.getvalue()


def _draw(
    panel: Axes, loss: str, by_seed: Mapping[int, Curve], colours: Mapping[int, str]
) -> None:
    for seed, curve in by_seed.items():
        if loss in curve:
            steps, values = averaged(curve["step"], curve[loss])
            panel.plot(steps, values, color=colours[seed], linewidth=0.9)
    panel.set_title(loss.replace("_", " "), fontsize=8)
    panel.tick_params(labelsize=7, length=2)
    panel.yaxis.get_offset_text().set_fontsize(7)
    panel.locator_params(nbins=4)
    panel.grid(color="#E3E3E3", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def averaged(steps: Sequence[float], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST_POINTS points of a curve, each the mean of a stretch of it."""
    parts = min(MOST_POINTS, len(steps))
    pairs = zip(np.array_split(steps, parts), np.array_split(values, parts), strict=True)
    means = np.array([(step.mean(), value.mean()) for step, value in pairs])
    return means[:, 0], means[:, 1]


def _has_curve(cell: Cell) -> bool:
    return len(cell.training.get("curve", {}).get("step", ())) > 1


def _losses(curves: Iterable[Curve]) -> list[str]:
    return list(dict.fromkeys(name for curve in curves for name in curve if name != "step"))


def _legend(figure: Figure, colours: Mapping[int, str]) -> None:
    handles = [Line2D([], [], color=colour, label=f"seed {s}") for s, colour in colours.items()]
    figure.legend(
        handles=handles, loc="lower center", ncols=LEGEND_COLUMNS, fontsize=8, frameon=False
    )
