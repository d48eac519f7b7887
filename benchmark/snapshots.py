"""Looks at a model in training: which modes its samples reach, and now and then a picture."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.metrics.base import KnownModes
from benchmark.metrics.mode_coverage import mode_coverage
from benchmark.randomness import derive_seed, fork_rng
from benchmark.store import write_atomically

LOOKS = 100  # at most, besides the one before the first step
STEPS_BETWEEN = 20  # at least, or looks would take longer than the steps
SAMPLES = 1_000  # of each look
FRAME_POINTS = 500
FRAMES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of the training length


class Snapshots:
    """What samples were like at up to a hundred steps; what it holds survives a kill.

    Args:
        modes: those of the data set.
        frames: whether some of the samples are kept for pictures.
        folder: where it is kept, None for nowhere.
    """

    def __init__(self, modes: KnownModes, *, frames: bool, folder: Path | None) -> None:
        self._modes, self._keep_frames = modes, frames
        self._path = folder / "snapshots.npz" if folder else None
        self._coverage: dict[int, tuple[int, float]] = {}
        self._frames: dict[int, np.ndarray] = {}
        if self._path is not None and self._path.exists():
            self._restore(self._path)

    def __call__(self, step: int, total: int, sample: Callable[[int], Tensor]) -> None:
        """Looks if a look is due, without moving the random state."""
        frame = self._keep_frames and step in {round(share * total) for share in FRAMES}
        due = _is_due(step, total)
        if not (frame or due):
            return
        with fork_rng(derive_seed("snapshot", step)):
            drawn = sample(SAMPLES).cpu()
        self._forget(step)
        if drawn.isfinite().all():
            if due:
                found = mode_coverage(self._modes.assign(drawn), self._modes.weights)
                self._coverage[step] = (found.captured, found.high_quality)
            if frame:
                self._frames[step] = drawn[:FRAME_POINTS].half().numpy()
            self._keep()

    @property
    def coverage(self) -> Mapping[str, list[Any]]:
        """Modes captured and share of high quality by step: equally long lists."""
        seen = sorted(self._coverage.items())
        return {
            "step": [step for step, _ in seen],
            "modes": [modes for _, (modes, _) in seen],
            "high_quality": [share for _, (_, share) in seen],
        }

    @property
    def frame_steps(self) -> list[int]:
        return sorted(self._frames)

    @property
    def frames(self) -> np.ndarray | None:
        """[f, 500, *shape] samples at `frame_steps`, float16, None where none are kept."""
        if not self._frames:
            return None
        return np.stack([self._frames[step] for step in self.frame_steps])

    def _forget(self, step: int) -> None:
        """Training that goes on from a checkpoint repeats some steps."""
        self._coverage = {at: seen for at, seen in self._coverage.items() if at < step}
        self._frames = {at: seen for at, seen in self._frames.items() if at < step}

    def _keep(self) -> None:
        if self._path is None:
            return
        content = io.BytesIO()
        points = np.zeros(0) if self.frames is None else self.frames
        kept: dict[str, Any] = {"frame_steps": self.frame_steps, "frames": points, **self.coverage}
        np.savez(content, **kept)
        write_atomically(self._path, content.getvalue())

    def _restore(self, path: Path) -> None:
        with np.load(path) as kept:
            seen = zip(kept["modes"].tolist(), kept["high_quality"].tolist(), strict=True)
            self._coverage = dict(zip(kept["step"].tolist(), seen, strict=True))
            self._frames = dict(zip(kept["frame_steps"].tolist(), kept["frames"], strict=True))


def _is_due(step: int, total: int) -> bool:
    looks = min(LOOKS, -(-total // STEPS_BETWEEN))
    return step == 0 or step * looks // total > (step - 1) * looks // total
