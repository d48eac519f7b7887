"""Memorisation as a picture: samples above the training images that lie nearest to them."""

from collections.abc import Sequence

import numpy as np

from benchmark.report.contents import first_results, group_of, models_of
from benchmark.report.figures import COLOURS, Drawing, png
from benchmark.report.image_rows import canvas_of_rows, panels_of_rows
from benchmark.report.numbers import written
from benchmark.store import Cell, Result

ROWS = {  # of images in a panel: the metric whose details hold them
    "features": "nn_distance_ratio",
    "pixels": "pixel_distance_ratio",
}


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
    figure, panels = panels_of_rows(len(shown), rows_of_images=1 + len(found))
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


def _ratio(result: Result) -> str:
    assert result.value is not None  # it was measured
    return written(result.value, 2)


def pairs_canvas(results: Sequence[Result], levels: int | None) -> np.ndarray:
    """Samples above their nearest images, as `canvas_of_rows` draws them."""
    pairs = [result.details["pairs"] for result in results]
    rows = [pairs[0]["generated"], *(pair["nearest"] for pair in pairs)]
    return canvas_of_rows(np.asarray(rows), levels)
