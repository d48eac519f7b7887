"""The figure of a calibration: p-values against the diagonal, coverages against their band."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.calibration.findings import COVERAGE, Coverage, Uniformity
from benchmark.report.curves import svg

COLOURS = ("#0072B2", "#B34700", "#00805E")
BAND = "#E3E3E3"
CRITICAL = 1.358  # over the root of n: the distance that uniform values pass in 5 % of cases


def calibration_figure(uniform: Sequence[Uniformity], covered: Sequence[Coverage]) -> bytes:
    """An SVG, the same bytes for the same findings."""
    height = max(3.0, 0.22 * len(covered) + 1.0)
    figure = Figure(figsize=(8.4, height), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    _draw_p_values(left, uniform)
    _draw_coverages(right, covered)
    for panel in (left, right):
        panel.tick_params(labelsize=8, length=2)
        panel.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def _draw_p_values(panel: Axes, uniform: Sequence[Uniformity]) -> None:
    if uniform:
        reach = CRITICAL / np.sqrt(min(len(found.p_values) for found in uniform))
        panel.fill_between([0, 1], [-reach, 1 - reach], [reach, 1 + reach], color=BAND, lw=0)
    for found, colour in zip(uniform, COLOURS, strict=False):
        shares = np.arange(1, len(found.p_values) + 1) / len(found.p_values)
        panel.step(sorted(found.p_values), shares, where="post", color=colour, linewidth=1.1)
        panel.plot([], [], color=colour, label=found.metric)
    panel.set(xlim=(0, 1), ylim=(0, 1), xlabel="p-value", ylabel="share of repeats below")
    panel.set_title("P-values of equal populations", fontsize=10, loc="left")
    panel.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_coverages(panel: Axes, covered: Sequence[Coverage]) -> None:
    panel.axvspan(*COVERAGE, color=BAND, lw=0)
    panel.axvline(0.95, color="#888888", linewidth=0.8)
    for height, found in enumerate(covered):
        colour = COLOURS[0] if found.holds else COLOURS[1]
        panel.plot([found.low, found.high], [height, height], color=colour, linewidth=1.1)
        panel.plot([found.share], [height], "o" if found.holds else "D", color=colour, ms=4)
    panel.set_yticks(range(len(covered)), [found.metric for found in covered])
    panel.set(xlabel="share of 95 % intervals that hold the true value")
    panel.invert_yaxis()
    panel.set_title("Coverage", fontsize=10, loc="left")
