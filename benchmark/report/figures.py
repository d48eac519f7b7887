"""What the models drew: a grid of images or a scatter of points for each, beside real data."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.contents import GROUPS, group_of, models_of
from benchmark.store import Cell

COLOURS = dict(zip(GROUPS, ("#0072B2", "#B34700", "#00805E"), strict=True))  # after Okabe and Ito
REAL_COLOUR = "#222222"
COLUMNS, PANEL_INCHES, DOTS_PER_INCH = 5, 1.9, 110
GRID_SIDE = 6  # images a row and a column
MOST_POINTS = 2_000


@dataclass(frozen=True)
class Drawing:
    """A figure as a file: its name, its bytes, and what it shows for those who cannot see it."""

    file_name: str
    content: bytes
    description: str
    caption: str


def samples_figure(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Drawing | None:
    """Real examples and those of every model at its lowest seed, as small multiples.

    None where there is nothing that can be drawn in a plane.
    """
    firsts = [next(iter(by_seed.values())) for by_seed in models_of(cells, models).values()]
    real = next((cell.real for cell in firsts if cell.real is not None), None)
    is_image = firsts[0].levels is not None
    if real is None or not (is_image or firsts[0].shape == (2,)):
        return None
    rows = math.ceil((len(firsts) + 1) / COLUMNS)
    size = (COLUMNS * PANEL_INCHES, rows * (PANEL_INCHES + 0.25))
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    draw = _draw_images if is_image else _draw_points
    draw(panels[0], real, real, firsts[0].levels, REAL_COLOUR)
    panels[0].set_title("real data", fontsize=9, fontweight="bold")
    for panel, cell in zip(panels[1:], firsts, strict=False):
        colour = COLOURS[group_of(cell)]
        panel.set_title(cell.identity.model, fontsize=9, color=colour, fontweight="bold")
        if cell.samples is None:
            _say(panel, "failed" if cell.failure else "not sampled yet")
        else:
            draw(panel, cell.samples, real, cell.levels, colour)
    for panel in panels[len(firsts) + 1 :]:
        panel.set_axis_off()
    names = ", ".join(cell.identity.model for cell in firsts)
    kind = "Images" if is_image else "Points"
    return Drawing(
        f"samples_{dataset}.png",
        png(figure),
        f"{kind} of {dataset} drawn by each of: {names}; the first panel holds real data.",
        _caption(is_image, sorted({cell.identity.seed for cell in firsts})),
    )


def png(figure: Figure) -> bytes:
    """The figure's bytes, without the program's name and version."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _caption(is_image: bool, seeds: Sequence[int]) -> str:
    seed = f"seed {', '.join(map(str, seeds))}"
    if is_image:
        return f"Samples, not selected, {seed}; first panel: real data."
    return (
        f"Samples, {seed}, over real data in grey, all on the same axes; the share of points that "
        "fell outside is in the corner."
    )


def _draw_images(
    panel: Axes, images: np.ndarray, real: np.ndarray, levels: int | None, colour: str
) -> None:
    assert levels is not None
    canvas = _tiled(images[: GRID_SIDE**2]) / (levels - 1)
    panel.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _frame(panel, colour)


def _tiled(images: np.ndarray) -> np.ndarray:
    """A square of images with a white pixel's... gap, [h, w] if grey and [h, w, 3] if RGB."""
    raise NotImplementedError


def _draw_points(
    panel: Axes, points: np.ndarray, real: np.ndarray, levels: int | None, colour: str
) -> None:
    raise NotImplementedError


def _say(panel: Axes, text: str) -> None:
    raise NotImplementedError


def _frame(panel: Axes, colour: str) -> None:
    raise NotImplementedError
