"""What the models drew: a grid of images or a scatter of points for each, beside real data."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmark.report.contents import GROUPS, diverged_at, group_of, models_of
from benchmark.report.numbers import count
from benchmark.store import Cell

COLOURS = dict(zip(GROUPS, ("#0072B2", "#B34700", "#00805E"), strict=True))  # after Okabe and Ito
REAL_COLOUR = "#222222"
COLUMNS, PANEL_INCHES, DOTS_PER_INCH = 5, 1.9, 110
FINE_DOTS_PER_INCH = 150  # where dots and lines are small
WARNING_COLOUR = "#B0103A"  # of what went wrong
GRID_SIDE = 6  # images a row and a column
MOST_POINTS = 2_000
PALETTE = 128


@dataclass(frozen=True)
class Attachment:
    """A file that a figure's caption links to under a label."""

    file_name: str
    content: bytes
    label: str


@dataclass(frozen=True)
class Drawing:
    """A figure as a file: its name, its bytes, and what it shows for those who cannot see it.

    Args:
        attached: what the page links to below the figure and does not show.
    """

    file_name: str
    content: bytes
    description: str
    caption: str
    title: str
    attached: tuple[Attachment, ...] = ()

    @property
    def files(self) -> dict[str, bytes]:
        """{name under the report's folder: bytes} of the figure and of what is attached."""
        files = {self.file_name: self.content}
        files |= {each.file_name: each.content for each in self.attached}
        return {f"figures/{name}": content for name, content in files.items()}


def samples_figure(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Drawing | None:
    """Real examples and those of every model at its lowest seed, as small multiples.

    None where there is nothing that can be drawn in a plane.
    """
    firsts = [next(iter(by_seed.values())) for by_seed in models_of(cells, models).values()]
    real = next((cell.real for cell in firsts if cell.real is not None), None)
    is_image = len(firsts[0].shape) == 3
    if real is None or not (is_image or firsts[0].shape == (2,)):
        return None
    figure, panels = _panels(len(firsts) + 1)
    draw = _draw_images if is_image else _draw_points
    draw(panels[0], real, real, firsts[0].levels, REAL_COLOUR)
    panels[0].set_title("real data", fontsize=9, fontweight="bold", color=REAL_COLOUR)
    for panel, cell in zip(panels[1:], firsts, strict=True):
        colour = COLOURS[group_of(cell)]
        panel.set_title(cell.identity.model, fontsize=9, fontweight="bold", color=colour)
        if cell.samples is None:
            _say(panel, _why_none(cell))
        else:
            draw(panel, cell.samples, real, cell.levels, colour)
    names = ", ".join(cell.identity.model for cell in firsts)
    kind = "Images" if is_image else "Points"
    return Drawing(
        f"samples_{dataset}.png",
        (png if is_image else small_png)(figure),
        f"{kind} of {dataset} drawn by each of: {names}; the first panel holds real data.",
        _caption(is_image, sorted({cell.identity.seed for cell in firsts})),
        "Samples",
    )


def _why_none(cell: Cell) -> str:
    """Why a cell holds no samples."""
    if (step := diverged_at(cell)) is not None:
        return f"diverged at\nstep {count(step)}"
    return "failed" if cell.failure else "not sampled yet"


def _panels(used: int) -> tuple[Figure, list[Axes]]:
    """A figure of at most COLUMNS panels a row, and those of them that will be used."""
    rows = math.ceil(used / COLUMNS)
    columns = math.ceil(used / rows)
    size = (columns * PANEL_INCHES, rows * (PANEL_INCHES + 0.25))
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in panels[used:]:
        panel.set_axis_off()
    return figure, panels[:used]


def png(figure: Figure) -> bytes:
    """The figure's bytes, without the program's name and version."""
    content = io.BytesIO()
    # `savefig` would draw it once more, for its size.
    FigureCanvasAgg(figure).print_png(content, metadata={"Software": None})
    return content.getvalue()


def small_png(figure: Figure) -> bytes:
    """The same in a palette of PALETTE colours: a third of the bytes for dots, lines and text."""
    image = Image.open(io.BytesIO(png(figure))).convert("RGB")
    content = io.BytesIO()
    image.quantize(PALETTE, Image.Quantize.MAXCOVERAGE).save(content, "png", optimize=True)
    return content.getvalue()


def _caption(is_image: bool, seeds: Sequence[int]) -> str:
    key = "Blue: models; orange: baselines; green: ceilings and floors."
    seed = f"seed {', '.join(map(str, seeds))}"
    if is_image:
        return f"Samples, not selected, {seed}. {key}"
    return (
        f"Samples, {seed}, over real data in grey, all on the same axes; in the corner, the share "
        f"that fell outside. {key}"
    )


def _draw_images(
    panel: Axes, images: np.ndarray, real: np.ndarray, levels: int | None, colour: str
) -> None:
    white = 1 if levels is None else levels - 1  # continuous images have their range in [0, 1]
    canvas = _tiled(images, white).clip(0, white) / white
    panel.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _frame(panel, colour)


def _tiled(images: np.ndarray, white: int) -> np.ndarray:
    """A square of images [n, c, h, w] with white gaps, [height, width] if grey, else with RGB."""
    _, channels, height, width = images.shape
    gap = max(1, height // 12)
    step_down, step_right = height + gap, width + gap
    size = (GRID_SIDE * step_down - gap, GRID_SIDE * step_right - gap, channels)
    canvas = np.full(size, float(white))
    for index, image in enumerate(images[: GRID_SIDE**2]):
        top, left = index // GRID_SIDE * step_down, index % GRID_SIDE * step_right
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return canvas if channels == 3 else canvas[..., 0]


def _draw_points(
    panel: Axes, points: np.ndarray, real: np.ndarray, levels: int | None, colour: str
) -> None:
    low, high = real.min(axis=0), real.max(axis=0)
    margin = 0.25 * (high - low).max()
    low, high = low - margin, high + margin
    points = points[:MOST_POINTS]
    if points is not real:
        panel.scatter(
            real[:MOST_POINTS, 0], real[:MOST_POINTS, 1], s=9, color="#CFCFCF", linewidths=0
        )
    panel.scatter(points[:, 0], points[:, 1], s=2, color=colour, linewidths=0, alpha=0.7)
    panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    outside = ((points < low) | (points > high)).any(axis=1).mean()
    if outside >= 0.005:
        _write(panel, f"{outside:.0%} outside", (0.97, 0.03), "right", "bottom")
    _frame(panel, colour)


def _say(panel: Axes, text: str) -> None:
    _write(panel, text, (0.5, 0.5), "center", "center")
    panel.set_box_aspect(1)
    _frame(panel, "#888888")


def _write(
    panel: Axes, text: str, where: tuple[float, float], horizontal: str, vertical: str
) -> None:
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
    panel.text(
        *where, text, transform=panel.transAxes, fontsize=8, ha=horizontal, va=vertical, bbox=box
    )


def _frame(panel: Axes, colour: str) -> None:
    panel.set(xticks=[], yticks=[])
    for side in panel.spines.values():
        side.set(color=colour, linewidth=1.0)
