"""Panels of a given size at given places: what is written around them is not measured first."""

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec


@dataclass(frozen=True)
class Margins:
    """Inches around the panels of a figure."""

    left: float
    right: float
    top: float
    bottom: float


def spaced(
    shape: tuple[int, int],
    panel: tuple[float, float],
    between: tuple[float, float],
    around: Margins,
    dots_per_inch: float,
) -> tuple[Figure, GridSpec]:
    """An empty figure and the places of its panels, all as large as given.

    A layout that measures every text first takes a third of the time of a large figure.

    Args:
        shape: rows and columns.
        panel: width and height in inches, with the space to the next.
        between: of them, the inches that are space.
        around: all panels.
        dots_per_inch: of the figure.
    """
    rows, columns = shape
    inner = (panel[0] - between[0], panel[1] - between[1])
    width = around.left + columns * panel[0] - between[0] + around.right
    height = around.top + rows * panel[1] - between[1] + around.bottom
    figure = Figure((width, height), dots_per_inch, facecolor="white")
    grid = figure.add_gridspec(
        *shape,
        left=around.left / width,
        right=1 - around.right / width,
        top=1 - around.top / height,
        bottom=around.bottom / height,
        wspace=between[0] / inner[0],
        hspace=between[1] / inner[1],
    )
    return figure, grid
