"""Training as a moving picture: the stored frames of one method, over real data."""

import io
from collections.abc import Iterator

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmark.report.figures import Attachment
from benchmark.report.numbers import count
from benchmark.report.snapshots import TARGET_COLOUR, Film, Window

SIDE, HEAD, DOTS = 300, 34, 100  # pixels of the panel and of the line above it; pixels an inch
FRAME_MILLISECONDS, LAST_MILLISECONDS = 600, 2_400
PALETTE = 64  # colours that all frames share


def animation(dataset: str, window: Window, real: np.ndarray, film: Film) -> Attachment:
    """A GIF of the method's frames, which begins anew after a rest on the last one."""
    drawn = list(_drawn(window, real, film))
    every = Image.fromarray(np.concatenate(drawn))
    palette = every.quantize(PALETTE, Image.Quantize.MAXCOVERAGE)
    first, *others = (
        Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE)
        for pixels in drawn
    )
    content = io.BytesIO()
    first.save(
        content,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[*[FRAME_MILLISECONDS] * len(others), LAST_MILLISECONDS],
        loop=0,
    )
    return Attachment(f"animation_{dataset}_{film.model}.gif", content.getvalue(), film.model)


def _drawn(window: Window, real: np.ndarray, film: Film) -> Iterator[np.ndarray]:
    """Each frame as [height, width, 3] bytes; what does not change is drawn once."""
    size = (SIDE / DOTS, (SIDE + HEAD) / DOTS)
    figure = Figure(figsize=size, dpi=DOTS, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, SIDE / (SIDE + HEAD)), xlim=(0, 1), ylim=(0, 1))
    axes.set(xticks=[], yticks=[])
    target = window.scaled(real)
    axes.scatter(target[:, 0], target[:, 1], s=9, color=TARGET_COLOUR, linewidths=0)
    figure.text(0.02, 0.945, film.model, fontsize=9, fontweight="bold", va="center")
    canvas.draw()
    unchanging = canvas.copy_from_bbox(figure.bbox)
    points = axes.scatter([], [], s=3, color=film.colour, linewidths=0, alpha=0.7)
    words = figure.text(0.98, 0.945, "", fontsize=9, va="center", ha="right")
    for place, (step, drawn) in enumerate(zip(film.steps, film.frames, strict=True)):
        ended = film.ending if place == len(film.steps) - 1 else None
        points.set_offsets(window.scaled(drawn))
        words.set_text(ended or f"step {count(step)}")
        canvas.restore_region(unchanging)
        axes.draw_artist(points)
        figure.draw_artist(words)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()
