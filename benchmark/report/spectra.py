"""Sharpness as a picture: each model's power spectrum over that of real images."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.report.contents import first_results, group_of, models_of
from benchmark.report.curves import svg
from benchmark.report.figures import COLOURS, REAL_COLOUR, Drawing
from benchmark.report.numbers import written
from benchmark.store import Cell, Result

COLUMNS = 5  # models side by side
PANEL_INCHES = (1.9, 1.5)


def spectra_figure(dataset: str, cells: Sequence[Cell], models: Sequence[str]) -> Drawing | None:
    """The spectrum of each model at its lowest measured seed, and that of real images.

    None where no cell holds a spectrum.
    """
    found = first_results(cells, models, "spectral", "generated")
    if not found:
        return None
    by_model = models_of(cells, models)
    rows = math.ceil(len(found) / COLUMNS)
    columns = max(2, math.ceil(len(found) / rows))
    size = (columns * PANEL_INCHES[0], rows * PANEL_INCHES[1] + 0.5)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel in panels.ravel()[len(found) :]:
        panel.set_axis_off()
    for panel, (model, (_, result)) in zip(panels.ravel(), found.items(), strict=False):
        colour = COLOURS[group_of(next(iter(by_model[model].values())))]
        panel.set_title(f"{model} {_distance(result)}", fontsize=8, color=colour)
        _draw(panel, result.details, colour)
    handles = [Line2D([], [], color=REAL_COLOUR, ls="--", lw=1, label="real images")]
    figure.legend(handles=handles, loc="outside lower right", fontsize=8, frameon=False)
    figure.supxlabel("cycles per image", fontsize=8)
    figure.supylabel("power", fontsize=8)
    seeds = ", ".join(map(str, sorted({seed for seed, _ in found.values()})))
    return Drawing(
        f"spectra_{dataset}.svg",
        svg(figure),
        f"Radial power spectra of samples on {dataset}, with the distance from real images: "
        f"{'; '.join(f'{model} {_distance(result)}' for model, (_, result) in found.items())}.",
        "Mean power at each spatial frequency, over directions; dashed: real images. Blurred "
        "samples lie below at the right end, noisy ones above. The number is the distance of the "
        f"two log spectra. Seed {seeds}. Blue: models; orange: baselines; green: ceilings and "
        "floors.",
        "Power spectra",
    )


def _distance(result: Result) -> str:
    assert result.value is not None  # it was measured
    return f"{written(result.value, 2)} dB"


def _draw(panel: Axes, spectra: Mapping[str, Sequence[float]], colour: str) -> None:
    for name, drawn, style in (("real", REAL_COLOUR, "--"), ("generated", colour, "-")):
        frequencies = range(1, len(spectra[name]) + 1)
        panel.semilogy(frequencies, spectra[name], color=drawn, linestyle=style, linewidth=1.2)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    panel.tick_params(labelsize=7, length=2)
    panel.grid(color="#E3E3E3", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
