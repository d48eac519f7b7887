"""How training went: one panel for each loss of each trained model."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.contents import models_of
from benchmark.report.figures import Drawing
from benchmark.store import Cell

SEED_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MOST_POINTS = 120  # of a line; longer curves are averaged over equal stretches
PANEL_INCHES = (2.3, 1.45)

Curve = Mapping[str, Sequence[float]]


def curves_figure(
    dataset: str, cells: Sequence[Cell], models: Sequence[str]
) -> Drawing | None:
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
    size = (PANEL_INCHES[0] * max(columns, 2), PANEL_INCHES[1] * len(curves) + 0.3)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    panels = figure.subplots(len(curves), columns, squeeze=False)
    colours = dict(zip(_seeds(curves), SEED_COLOURS * len(cells), strict=False))
    for row, (model, by_seed) in zip(panels, curves.items(), strict=True):
        for panel, loss in zip(row, losses[model], strict=False):
            _draw(panel, loss, by_seed, colours)
        row[0].set_ylabel(model, fontsize=9, fontweight="bold")
        for panel in row[len(losses[model]) :]:
            panel.set_axis_off()
    _legend(figure, panels, colours)
    return Drawing(
        f"curves_{dataset}.svg",
        svg(figure),
        f"Training losses against step on {dataset} for: {', '.join(curves)}.",
        "Training losses against step, a line for each training seed; long curves are averaged "
        f"over stretches, {MOST_POINTS} to a curve.",
    )
