"""How far metrics agree, as a heat map of their rank correlations."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.metrics.base import Metric
from benchmark.report.agreement import Correlation, Pair
from benchmark.report.curves import svg
from benchmark.report.figures import Drawing

CELL_INCHES = 0.3
LABEL_INCHES = 1.7
DIAGONAL = 0.867  # its grey, of 1 for white
DARK = 0.7  # a correlation whose colour needs white text


def agreement_figure(
    dataset: str,
    metrics: Sequence[Metric],
    everyone: Mapping[Pair, Correlation],
    competitors: Mapping[Pair, Correlation],
) -> Drawing:
    """The matrix of correlations: all rows below the diagonal, without ceilings and floors above.

    Args:
        dataset: whose cells they are of.
        metrics: rows and columns, in order.
        everyone: correlations over all cells.
        competitors: those over models and baselines alone.
    """
    side = len(metrics) * CELL_INCHES
    size = (side + LABEL_INCHES + 0.1, side + LABEL_INCHES)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    panel = figure.subplots()
    place = {metric.name: index for index, metric in enumerate(metrics)}
    colours = np.ones((len(metrics), len(metrics), 3))
    np.einsum("iij->ij", colours)[:] = DIAGONAL
    for pairs, below in ((everyone, True), (competitors, False)):
        for names, found in pairs.items():
            first, second = sorted(place[name] for name in names)
            column, row = (first, second) if below else (second, first)
            colours[row, column] = colour_of(found.value)
            _write(panel, column, row, found)
    panel.imshow(colours, interpolation="none")
    _label(panel, metrics)
    return Drawing(
        f"agreement_{dataset}.svg",
        svg(figure),
        f"Heat map of Spearman correlations between {len(metrics)} metrics on {dataset}; every "
        "number with its interval stands in the table below.",
        "Spearman's correlation in hundredths. Below the diagonal: all cells. Above it: without "
        "ceilings and floors. Blue: the metrics agree; orange: they contradict each other. Bold: "
        "the 95 % interval leaves out zero. Empty: too few models share both metrics.",
        "Rank correlations",
    )


def _write(panel: Axes, column: int, row: int, found: Correlation) -> None:
    panel.text(
        column,
        row,
        f"{100 * found.value:.0f}".replace("-", "−"),
        ha="center",
        va="center",
        fontsize=6.5,
        fontweight="bold" if found.sign else "normal",
        color="white" if abs(found.value) > DARK else "#222222",
        in_layout=False,
    )


def colour_of(strength: float) -> tuple[float, float, float]:
    """From orange at -1 over white to blue at 1."""
    end = np.array([0.0, 0.33, 0.6]) if strength > 0 else np.array([0.65, 0.25, 0.0])
    share = min(abs(strength), 1.0)
    red, green, blue = (1 - share) + share * end
    return float(red), float(green), float(blue)


def _label(panel: Axes, metrics: Sequence[Metric]) -> None:
    count = len(metrics)
    labels = [metric.label for metric in metrics]
    panel.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    panel.set_xticks(range(count), labels, rotation=60, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(count), labels)
    panel.tick_params(labelsize=7.5, length=0)
    panel.spines[:].set_visible(False)
    for index, (before, after) in enumerate(pairwise(metrics)):
        if before.table != after.table:
            for line in (panel.axhline, panel.axvline):
                line(index + 0.5, color="#555555", linewidth=0.7)
