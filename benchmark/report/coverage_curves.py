"""How many modes a method captures while it learns, and whether it loses some again."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.report.contents import diverged_at, group_of, models_of
from benchmark.report.figures import (
    COLOURS,
    FINE_DOTS_PER_INCH,
    REAL_COLOUR,
    WARNING_COLOUR,
    Drawing,
    small_png,
)
from benchmark.report.numbers import written
from benchmark.report.spacing import Margins, spaced
from benchmark.store import Cell

COLUMNS = 5  # methods side by side
PANEL_INCHES = (1.95, 1.4)  # with the space to the next
AROUND = Margins(left=0.5, right=0.1, top=0.34, bottom=0.45)
BETWEEN = (0.14, 0.32)
LABEL_INCHES = 0.07  # from the left edge
LEGEND_ENTRY_INCHES, LEGEND_ROW_INCHES = 1.42, 0.16
QUALITY_COLOUR = "#6B7280"
_NOTHING: Mapping[str, Sequence[float]] = {"step": (), "modes": (), "high_quality": ()}


@dataclass(frozen=True)
class Course:
    """One method's coverage in s seeds at f steps.

    Args:
        colour: of the model's group.
        steps: [f] at which any seed was looked at or diverged.
        modes, quality: [s, f] modes captured and share of high-quality samples; 0 once a seed
            has diverged.
        stops: [s] the step at which each seed diverged, infinite for those that went through.
    """

    colour: str
    steps: np.ndarray
    modes: np.ndarray
    quality: np.ndarray
    stops: np.ndarray

    @property
    def at_the_end(self) -> float:
        """Modes captured after the last step, the mean over seeds."""
        return float(self.modes[:, -1].mean())

    @property
    def failures(self) -> str:
        """Such as `2 of 10 diverged`, empty where no seed did."""
        diverged = int(np.isfinite(self.stops).sum())
        return f"{diverged} of {len(self.stops)} diverged" if diverged else ""


def coverage_figure(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Drawing | None:
    """Modes captured against training step, a panel for each method, a line for each seed.

    None where no cell holds its coverage.
    """
    if not any(map(_has_coverage, cells)):
        return None
    courses = {
        model: course_of(its)
        for model, by_seed in models_of(cells, models).items()
        if (its := [cell for cell in by_seed.values() if _has_coverage(cell) or _diverged(cell)])
    }
    most = _most(courses.values(), cells)
    ends = (f"{model} {_end(course)}" for model, course in courses.items())
    return Drawing(
        f"coverage_{dataset}.png",
        small_png(_figure(courses, most)),
        f"Modes of {dataset} captured against training step, with the mean over seeds at the "
        f"end: {'; '.join(ends)}.",
        "Modes captured against training step: thin lines are seeds, the thick one their mean, "
        "which is the number above the panel at the last step. Grey, dashed: the share of "
        "high-quality samples, 0 at the bottom and 1 at the dotted line, which stands at "
        f"{most} modes, the most that any row of the tables captured. A cross: the seed "
        "diverged, and counts as no mode from there on.",
        "Modes captured during training",
    )


def _most(courses: Iterable[Course], cells: Sequence[Cell]) -> int:
    """The most modes captured, by real data too where these are among the cells."""
    captured = [course.modes.max() for course in courses]
    answers = (result for cell in cells for result in cell.results)
    captured += [r.value for r in answers if r.question.metric == "modes" and r.value is not None]
    return max(1, int(max(captured)))


def course_of(cells: Sequence[Cell]) -> Course:
    """The seeds of one method, each with its coverage or diverged before there was any."""
    held = [cell.training.get("coverage", _NOTHING) for cell in cells]
    found = [diverged_at(cell) for cell in cells]
    stops = np.array([math.inf if step is None else step for step in found])
    steps = np.unique(np.concatenate([*(each["step"] for each in held), stops]))
    steps = steps[np.isfinite(steps)]
    modes, quality = (
        np.array([_on(steps, its, name, stop) for its, stop in zip(held, stops, strict=True)])
        for name in ("modes", "high_quality")
    )
    return Course(COLOURS[group_of(cells[0])], steps, modes, quality, stops)


def _on(
    steps: np.ndarray, coverage: Mapping[str, Sequence[float]], name: str, stop: float
) -> np.ndarray:
    """A seed's values after these steps: the last one known, 0 before any and from `stop` on."""
    values = np.array([0.0, *coverage[name]])
    known = values[np.searchsorted(coverage["step"], steps, side="right")]
    return np.where(steps >= stop, 0.0, known)


def _has_coverage(cell: Cell) -> bool:
    return len(cell.training.get("coverage", _NOTHING)["step"]) > 0


def _diverged(cell: Cell) -> bool:
    return diverged_at(cell) is not None


def _figure(courses: Mapping[str, Course], most: int) -> Figure:
    rows = math.ceil(len(courses) / COLUMNS)
    columns = max(2, math.ceil(len(courses) / rows))
    legend = _legend(diverged=any(course.failures for course in courses.values()))
    beside = min(len(legend), int(columns * PANEL_INCHES[0] / LEGEND_ENTRY_INCHES))
    around = replace(AROUND, top=AROUND.top + LEGEND_ROW_INCHES * math.ceil(len(legend) / beside))
    figure, grid = spaced((rows, columns), PANEL_INCHES, BETWEEN, around, FINE_DOTS_PER_INCH)
    panels = grid.subplots(squeeze=False, sharex=True, sharey=True).ravel()
    for panel in panels[len(courses) :]:
        panel.set_axis_off()
    for panel in panels[max(0, len(courses) - columns) : len(courses)]:
        panel.tick_params(labelbottom=True)
    for panel, (model, course) in zip(panels, courses.items(), strict=False):
        _draw(panel, course, most)
        end = written(course.at_the_end, 1)
        panel.set_title(f"{model} {end}", fontsize=8, fontweight="bold", color=course.colour)
    panels[0].set(ylim=(-0.04 * most, 1.1 * most), yticks=sorted({0, most // 2, most}))
    figure.supxlabel("training step", fontsize=8)
    figure.supylabel("modes captured", x=LABEL_INCHES / figure.get_figwidth(), fontsize=8)
    figure.legend(handles=legend, loc="upper center", ncols=beside, fontsize=8, frameon=False)
    return figure


def _draw(panel: Axes, course: Course, most: int) -> None:
    panel.axhline(most, color=REAL_COLOUR, linewidth=0.7, linestyle=":")
    for modes, stop in zip(course.modes, course.stops, strict=True):
        alive = course.steps < stop
        panel.plot(course.steps[alive], modes[alive], color=course.colour, lw=0.5, alpha=0.45)
        if math.isfinite(stop):
            height = modes[alive][-1] if alive.any() else 0.0
            panel.plot(stop, height, "x", color=WARNING_COLOUR, markersize=4)
    quality = most * course.quality.mean(axis=0)
    panel.plot(course.steps, quality, color=QUALITY_COLOUR, linewidth=0.9, linestyle="--")
    panel.plot(course.steps, course.modes.mean(axis=0), color=course.colour, linewidth=1.6)
    if course.failures:
        _write(panel, course.failures)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    panel.tick_params(labelsize=7, length=2)
    panel.grid(color="#E3E3E3", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def _write(panel: Axes, text: str) -> None:
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.0}
    style: dict[str, Any] = {"fontsize": 7, "color": WARNING_COLOUR, "ha": "right", "bbox": box}
    panel.text(0.97, 0.12, text, transform=panel.transAxes, **style)


def _legend(*, diverged: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=COLOURS["Models"], linewidth=1.6, label="modes, mean over seeds"),
        Line2D([], [], color=COLOURS["Models"], linewidth=0.5, alpha=0.6, label="one seed"),
        Line2D([], [], color=QUALITY_COLOUR, ls="--", lw=0.9, label="share of high quality"),
    ]
    if diverged:
        cross = Line2D([], [], color=WARNING_COLOUR, marker="x", ls="", ms=4, label="diverged")
        handles.append(cross)
    return handles


def _end(course: Course) -> str:
    words = f" ({course.failures})" if course.failures else ""
    return f"{written(course.at_the_end, 1)}{words}"
