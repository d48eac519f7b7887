"""The log that `fit` is handed: losses of every step as CSV, seconds, and a progress bar."""

import csv
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MOST_POINTS = 200  # of a curve kept with the results
Progress = Callable[[str, int, int], None]


class TrainingLog:
    """Satisfies `benchmark.spec.Log`; keeps `losses.csv` in its folder.

    A run that resumes from a checkpoint repeats some steps: their earlier rows are dropped, so
    the file ends as an uninterrupted run leaves it, but for the column `seconds`.
    """

    def __init__(
        self, folder: Path | None, precision: str, progress: Progress = lambda *_: None
    ) -> None:
        self.folder = folder
        self.precision = precision
        self._progress = progress
        self._rows: list[dict[str, float]] = []
        self._stored = _read(self._path) if self._path and self._path.exists() else []
        self._started = time.monotonic()
        self._before: float | None = None

    def __call__(self, step: int, total: int, **losses: float) -> None:
        if self._before is None:
            self._rows = [row for row in self._stored if row["step"] < step]
            self._before = self._rows[-1]["seconds"] if self._rows else 0.0
        self._rows.append({"step": step, **losses, "seconds": self.seconds})
        self._progress("training", step, total)
        if step == total or step % 500 == 0:
            self.save()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return (self._before or 0.0) + time.monotonic() - self._started

    def save(self) -> None:
        """Writes the file whole."""
        if self._path is None or not self._rows:
            return
        temporary = self._path.with_suffix(".part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            names = list(dict.fromkeys(name for row in self._rows for name in row))
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self._rows)
        temporary.replace(self._path)

    def curve(self) -> Mapping[str, list[float]]:
        """The losses, averaged over blocks so that at most MOST_POINTS are left."""
        if not self._rows:
            return {}
        size = -(-len(self._rows) // MOST_POINTS)
        blocks = [self._rows[i : i + size] for i in range(0, len(self._rows), size)]
        names = [name for name in self._rows[0] if name not in ("step", "seconds")]
        curve: dict[str, list[Any]] = {"step": [int(block[-1]["step"]) for block in blocks]}
        for name in names:
            curve[name] = [_mean([row[name] for row in block if name in row]) for block in blocks]
        return curve

    @property
    def _path(self) -> Path | None:
        return self.folder / "losses.csv" if self.folder else None


def _mean(values: list[float]) -> float | None:
    return float(f"{sum(values) / len(values):.5g}") if values else None


def _read(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
