"""Memorisation as a picture: samples above the training images that lie nearest to them."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.contents import first_results, group_of, models_of
from benchmark.report.figures import COLOURS, DOTS_PER_INCH, Drawing, png
from benchmark.report.numbers import written
from benchmark.store import Cell, Result

ROWS = {  # of images in a panel: the metric whose details hold them
    "features": "nn_distance_ratio",
    "pixels": "pixel_distance_ratio",
}
COLUMNS = 3  # models side by side
ACROSS = 8  # images in a row
PANEL_INCHES, TITLE_INCHES = 3.1, 0.35


def neighbours_figure(
    dataset: str, cells: Sequence[Cell], models: Sequence[str]
) -> Drawing | None:
    """Samples of each model at its lowest measured seed over their nearest training images.

    None where no cell holds such pairs.
    """
    found = {space: first_results(cells, models, name, "pairs") for space, name in ROWS.items()}
    found = {space: its for space, its in found.items() if its}
    by_model = models_of(cells, models)
    shown = {
        model: [its[model] for its in found.values()]
        for model in by_model
        if found and all(model in its for its in found.values())
    }
    if not shown:
        return None
    figure, panels = _panels(len(shown), rows_of_images=1 + len(found))
    for panel, (model, results) in zip(panels, shown.items(), strict=True):
        cell = next(iter(by_model[model].values()))
        canvas = pairs_canvas([result for _, result in results], cell.levels)
        panel.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ratios = ", ".join(_ratio(result) for _, result in results)
        panel.set_title(f"{model}: {ratios}", fontsize=9, color=COLOURS[group_of(cell)])
    seeds = sorted({seed for results in shown.values() for seed, _ in results})
    return Drawing(
        f"neighbours_{dataset}.png",
        png(figure),
        f"Samples on {dataset} above the nearest training images, for: {', '.join(shown)}.",
        f"First row: samples, not selected. Below: the training image nearest to each, in "
        f"{' and in '.join(found)}. The numbers are the distance ratios: 0 for copies, 1 for "
        f"fresh data. Seed {', '.join(map(str, seeds))}. Blue: models; orange: baselines; green: "
        "ceilings and floors.",
        "Nearest training images",
    )


def _panels(used: int, rows_of_images: int) -> tuple[Figure, list[Axes]]:
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


def _ratio(result: Result) -> str:
    assert result.value is not None  # it was measured
    return written(result.value, 2)


def pairs_canvas(results: Sequence[Result], levels: int | None) -> np.ndarray:
    """Rows of images with white gaps, [height, width] if grey, else with RGB; 0 to 1."""
    pairs = [result.details["pairs"] for result in results]
    rows = [pairs[0]["generated"], *(pair["nearest"] for pair in pairs)]
    images = np.asarray(rows, dtype=float) / (1 if levels is None else levels - 1)
    gap = max(1, images.shape[-1] // 12)
    around = [(0, 0), (0, 0), (0, 0), (0, gap), (0, gap)]
    padded = np.pad(images, around, constant_values=1.0)  # [rows, n, C, H, W]
    down, across, channels, height, width = padded.shape
    canvas = padded.transpose(0, 3, 1, 4, 2).reshape(down * height, across * width, channels)
    canvas = canvas[:-gap, :-gap].clip(0, 1)
    return canvas if channels == 3 else canvas[..., 0]
