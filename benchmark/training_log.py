"""The log that `fit` is handed: losses of every step as CSV, seconds, and a progress bar."""

import csv
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from benchmark.snapshots import Snapshots

MOST_POINTS = 200  # of a curve kept with the results
Progress = Callable[[str, int, int], None]


class TrainingLog:
    """Satisfies `benchmark.spec.Log`; keeps `losses.csv` in its folder.

    A run that resumes from a checkpoint repeats some steps: their earlier rows are dropped, so
    the file ends as an uninterrupted run leaves it, but for the column `seconds`.
    """

    def __init__(
        self,
        folder: Path | None,
        precision: str,
        progress: Progress = lambda *_: None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.folder = folder
        self.precision = precision
        self.divergence: Mapping[str, Any] | None = None
        self.snapshots = snapshots
        self._progress = progress
        self._rows: list[dict[str, float]] = []
        self._stored = _read(self._path) if self._path and self._path.exists() else []
        self._started = time.monotonic()
        self._before: float | None = None
        self._file: TextIO | None = None
        self._writer: csv.DictWriter[str] | None = None

    def __call__(self, step: int, total: int, **losses: float) -> None:
        if self._before is None:
            self._open(step, list(losses))
        row = {"step": step, **losses, "seconds": self.seconds}
        self._rows.append(row)
        if self._file is not None and self._writer is not None:
            self._writer.writerow(row)
            self._file.flush()  # a checkpoint that follows must not know more than the file
        self._progress("training", step, total)

    def snapshot(self, step: int, total: int, sample: Callable[[int], Tensor]) -> None:
        if self.snapshots is not None:
            self.snapshots(step, total, sample)

    def diverged(self, step: int, total: int, loss: str, value: float) -> None:
        self.divergence = {"step": step, "steps": total, "loss": loss}
        if self._before is None:  # it was before the checkpoint that training went on from
            self._rows = self._stored

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self, step: int, names: list[str]) -> None:
        self._rows = [row for row in self._stored if row["step"] < step]
        self._before = self._rows[-1]["seconds"] if self._rows else 0.0
        if self._path is None:
            return
        self._file = self._path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, ["step", *names, "seconds"])
        self._writer.writeheader()
        self._writer.writerows(self._rows)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return (self._before or 0.0) + time.monotonic() - self._started

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


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a file; a kill may have left half a row at its end."""
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                numbers = {name: float(value) for name, value in row.items()}
            except (TypeError, ValueError):
                break
            rows.append({**numbers, "step": int(numbers["step"])})
    return rows
