"""Panels with rows of small images, a panel for each model, side by side."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures import DOTS_PER_INCH

COLUMNS = 3  # models side by side
ACROSS = 8  # images in a row
PANEL_INCHES, TITLE_INCHES = 3.1, 0.35


def panels_of_rows(used: int, rows_of_images: int) -> tuple[Figure, list[Axes]]:
    """A figure with `used` panels, each as high as so many rows of square images."""
    rows = math.ceil(used / COLUMNS)
    height = PANEL_INCHES * rows_of_images / ACROSS + TITLE_INCHES
    figure = Figure(
        figsize=(min(COLUMNS, used) * PANEL_INCHES, rows * height),
        dpi=DOTS_PER_INCH,
        layout="constrained",
        facecolor="white",
    )
    panels = list(figure.subplots(rows, min(COLUMNS, used), squeeze=False).ravel())
    for panel in panels:
        panel.set_axis_off()
    return figure, panels[:used]


def canvas_of_rows(images: np.ndarray, levels: int | None) -> np.ndarray:
    """Rows of images [rows, n, C, H, W] with white gaps, as one picture.

    Returns:
        [height, width] if grey, else [height, width, 3]; 0 to 1.
    """
    scaled = np.asarray(images, dtype=float) / (1 if levels is None else levels - 1)
    gap = gap_of(scaled.shape[-1])
    around = [(0, 0), (0, 0), (0, 0), (0, gap), (0, gap)]
    padded = np.pad(scaled, around, constant_values=1.0)
    down, across, channels, height, width = padded.shape
    canvas = padded.transpose(0, 3, 1, 4, 2).reshape(down * height, across * width, channels)
    canvas = canvas[:-gap, :-gap].clip(0, 1)
    return canvas if channels == 3 else canvas[..., 0]


def gap_of(side: int) -> int:
    """Pixels between images of this width."""
    return max(1, side // 12)
