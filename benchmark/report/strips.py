"""How samples came to lie where they do: a row for each method, real data and then steps."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmark.report.animation import animation
from benchmark.report.figures import (
    FINE_DOTS_PER_INCH,
    REAL_COLOUR,
    WARNING_COLOUR,
    Drawing,
    small_png,
)
from benchmark.report.numbers import count
from benchmark.report.snapshots import TARGET_COLOUR, Film, Window, films_of, target_of, window_of
from benchmark.store import Cell

MOST_ROWS = 14  # of a figure
MOST_FRAMES = 7  # of a row
PANEL, GAP, NAME, LINE = 1.05, 0.07, 1.3, 0.17  # inches: side, space, left margin, row of steps


def strip_figures(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> list[Drawing]:
    """Figures of at most MOST_ROWS methods each, with an animation of every method beside.

    None are made where the data do not lie in the plane or no cell holds frames.
    """
    real = target_of(cells)
    films = [] if real is None else films_of(cells, models)
    if real is None or not films:
        return []
    window = window_of(real)
    shares = np.array_split(np.arange(len(films)), math.ceil(len(films) / MOST_ROWS))
    parts = [[films[place] for place in share] for share in shares]
    return [
        _drawing(dataset, window, real, part, f"_{number}" if len(parts) > 1 else "")
        for number, part in enumerate(parts, start=1)
    ]


def _drawing(
    dataset: str, window: Window, real: np.ndarray, films: Sequence[Film], number: str
) -> Drawing:
    seeds = ", ".join(map(str, sorted({film.seed for film in films})))
    names = ", ".join(film.model for film in films)
    stopped = " A method that diverged has no panels from there on."
    return Drawing(
        f"strip_{dataset}{number}.png",
        small_png(_figure(window, real, films)),
        f"Points of {dataset} drawn during training, from the first step at the left to the "
        f"last at the right, a row for each of: {names}; the first panel of a row holds real "
        "data.",
        f"Samples during training, seed {seeds}, over real data in grey, all on the same axes; "
        "above the panels, the training steps done; in the corner, the share that fell outside."
        f"{stopped if any(film.ending for film in films) else ''}",
        f"Samples during training{number.replace('_', ', part ')}",
        attached=tuple(animation(dataset, window, real, film) for film in films),
    )


def _figure(window: Window, real: np.ndarray, films: Sequence[Film]) -> Figure:
    """One large axes in inches, from the top downwards: many small ones take seconds to draw."""
    chosen = chosen_frames(max(len(film.steps) for film in films))
    rows = list(rows_of(films, chosen))
    width = NAME + (1 + len(chosen)) * (PANEL + GAP)
    height = rows[-1][1] + PANEL + GAP
    figure = Figure(figsize=(width, height), dpi=FINE_DOTS_PER_INCH, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    target = window.scaled(real)
    for film, top, titled in rows:
        _label(axes, film, top)
        _panel(axes, target, target, (NAME, top), REAL_COLOUR)
        for column, place in enumerate(each for each in chosen if each < len(film.steps)):
            corner = (NAME + (1 + column) * (PANEL + GAP), top)
            points = film.frames[place]
            _panel(axes, target, window.scaled(points), corner, film.colour)
            _say_outside(axes, window.outside(points), corner)
            if titled:
                _title(axes, f"step {count(film.steps[place])}", corner)
    _title(axes, "real data", (NAME, rows[0][1]))
    return figure


def chosen_frames(frames: int) -> list[int]:
    """Places of at most MOST_FRAMES frames, the first and the last among them."""
    return np.linspace(0, frames - 1, min(frames, MOST_FRAMES)).round().astype(int).tolist()


def rows_of(films: Sequence[Film], chosen: Sequence[int]) -> Iterator[tuple[Film, float, bool]]:
    """(film, inches of its panels from the top, whether its steps differ from those above)."""
    top = 0.0
    above: list[int] | None = None
    for film in films:
        steps = [film.steps[place] for place in chosen if place < len(film.steps)]
        titled = above is None or steps != above[: len(steps)]
        top += LINE if titled else 0.0
        yield film, top, titled
        top += PANEL + GAP
        above = steps if titled else above


def _panel(
    axes: Axes, target: np.ndarray, points: np.ndarray, corner: tuple[float, float], colour: str
) -> None:
    left, top = corner
    if points is not target:
        _dots(axes, target, corner, size=5, colour=TARGET_COLOUR)
    _dots(axes, points, corner, size=1.6, colour=colour, alpha=0.7)
    frame = Rectangle((left, top), PANEL, PANEL, fill=False, edgecolor=colour, linewidth=0.8)
    axes.add_patch(frame)


def _dots(
    axes: Axes,
    points: np.ndarray,
    corner: tuple[float, float],
    *,
    size: float,
    colour: str,
    alpha: float = 1.0,
) -> None:
    """Points [n, 2] of a panel's unit square, whose second coordinate grows upwards."""
    x = corner[0] + PANEL * points[:, 0]
    y = corner[1] + PANEL * (1 - points[:, 1])
    axes.scatter(x, y, s=size, color=colour, linewidths=0, alpha=alpha)


def _label(axes: Axes, film: Film, top: float) -> None:
    middle = top + PANEL / 2
    axes.text(
        NAME - GAP, middle, film.model, fontsize=8.5, fontweight="bold", ha="right", va="center"
    )
    if film.ending:
        words = film.ending.replace(" at step", "\nat step")
        below = (NAME - GAP, middle + 0.12)
        axes.text(*below, words, fontsize=7.5, color=WARNING_COLOUR, ha="right", va="top")


def _title(axes: Axes, text: str, corner: tuple[float, float]) -> None:
    axes.text(corner[0] + PANEL / 2, corner[1] - 0.03, text, fontsize=7.5, ha="center")


def _say_outside(axes: Axes, share: float, corner: tuple[float, float]) -> None:
    if share < 0.005:
        return
    where = (corner[0] + PANEL - 0.03, corner[1] + PANEL - 0.04)
    box = {"facecolor": "white", "alpha": 0.6, "edgecolor": "none", "pad": 1.0}
    axes.text(*where, f"{share:.0%} outside", fontsize=6.5, ha="right", va="bottom", bbox=box)
