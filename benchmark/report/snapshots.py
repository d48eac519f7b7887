"""What models drew while they learnt: the stored frames, and the window that shows them all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.report.contents import diverged_at, group_of, models_of
from benchmark.report.figures import COLOURS
from benchmark.report.numbers import count
from benchmark.store import Cell

TARGET_COLOUR = "#CFCFCF"
MARGIN = 0.2  # around real data, as a share of their widest side


@dataclass(frozen=True)
class Film:
    """What one model drew during training.

    Args:
        colour: of the model's group.
        steps: [f] how many steps were done before each frame, ascending.
        frames: [f, n, 2] points in the plane.
        ending: what stopped training before its last step, None where nothing did.
    """

    model: str
    seed: int
    colour: str
    steps: tuple[int, ...]
    frames: np.ndarray
    ending: str | None


@dataclass(frozen=True)
class Window:
    """The square of the plane that every panel of a data set shows."""

    low: np.ndarray  # [2]
    side: float

    def scaled(self, points: np.ndarray) -> np.ndarray:
        """The points [n, 2] that fall inside, in coordinates from 0 to 1."""
        places = (points - self.low) / self.side
        return places[self._inside(places)]

    def outside(self, points: np.ndarray) -> float:
        """The share of points that it does not show, those that are no numbers among them."""
        return 1 - float(self._inside((points - self.low) / self.side).mean())

    @staticmethod
    def _inside(places: np.ndarray) -> np.ndarray:
        return np.asarray(((places >= 0) & (places <= 1)).all(axis=1))


def films_of(cells: Sequence[Cell], models: Sequence[str]) -> list[Film]:
    """The frames of each model at its lowest seed that has any."""
    films = []
    for model, by_seed in models_of(cells, models).items():
        for seed, cell in by_seed.items():
            if cell.frames is not None:
                steps = tuple(cell.training["frame_steps"])
                colour = COLOURS[group_of(cell)]
                films.append(Film(model, seed, colour, steps, cell.frames, _ending(cell)))
                break
    return films


def target_of(cells: Sequence[Cell]) -> np.ndarray | None:
    """Real points [n, 2], None where the data do not lie in the plane."""
    return next((c.real for c in cells if c.real is not None and c.shape == (2,)), None)


def window_of(real: np.ndarray) -> Window:
    """The square around real points [n, 2], with a margin on every side."""
    low, high = real.min(axis=0), real.max(axis=0)
    side = (1 + 2 * MARGIN) * float((high - low).max())
    return Window((low + high) / 2 - side / 2, side)


def _ending(cell: Cell) -> str | None:
    step = diverged_at(cell)
    return None if step is None else f"diverged at step {count(step)}"
