"""The lower half of test images as each model draws it, given the upper half."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from benchmark.report.contents import group_of, models_of
from benchmark.report.figures import COLOURS, WARNING_COLOUR, Drawing, png
from benchmark.report.image_rows import canvas_of_rows, gap_of, panels_of_rows
from benchmark.store import Cell, kept_rows


def completions_figure(
    dataset: str, cells: Sequence[Cell], models: Sequence[str]
) -> Drawing | None:
    """Test images above their completions, a panel a model, at the lowest seed that has any.

    None where no cell holds completions.
    """
    held = {
        model: [cell for cell in its.values() if cell.completions is not None]
        for model, its in models_of(cells, models).items()
    }
    shown = {model: its[0] for model, its in held.items() if its}
    if not shown:
        return None
    rows = {model: rows_of(cell) for model, cell in shown.items()}
    figure, panels = panels_of_rows(len(shown), max(map(len, rows.values())))
    for panel, (model, cell) in zip(panels, shown.items(), strict=True):
        canvas = canvas_of_rows(rows[model], cell.levels)
        panel.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        _mark_halves(panel, len(rows[model]), cell.shape[1], cell.shape[2])
        panel.set_title(model, fontsize=9, fontweight="bold", color=COLOURS[group_of(cell)])
    seeds = sorted({cell.identity.seed for cell in shown.values()})
    return Drawing(
        f"completions_{dataset}.png",
        png(figure),
        f"Test images of {dataset} above the same with their lower half drawn anew by each of: "
        f"{', '.join(shown)}.",
        "First row: the first images of the test split, not selected. Below, each time anew: what "
        "the model draws beneath the red line, given the half above it. Seed "
        f"{', '.join(map(str, seeds))}.",
        "Completions of test images",
    )


def rows_of(cell: Cell) -> np.ndarray:
    """The originals, then every completion of them: [1 + k, n, C, H, W]."""
    assert cell.completions is not None
    assert cell.real is not None  # stored with the samples, before the completions
    originals = cell.real[: cell.completions.shape[1]]
    return np.concatenate([originals[None], cell.completions])


def _mark_halves(panel: Axes, rows: int, height: int, width: int) -> None:
    """A line below the kept half of every row but the first."""
    step = height + gap_of(width)
    for row in range(1, rows):
        edge = row * step + kept_rows(height) - 0.5  # pixels are centred on whole numbers
        panel.axhline(edge, color=WARNING_COLOUR, linewidth=0.8)
