"""Cells of trained models with made-up coverage and frames, as training leaves them."""

import math
from dataclasses import replace

import numpy as np
from factories import full_cell

from benchmark.store import Cell

STEPS, EVERY = 3_000, 30  # training steps; from one point of a coverage curve to the next
SIGMA = {"ring": 0.01, "grid": 0.05}


def means_of(dataset: str) -> np.ndarray:
    """The centres of the modes, [k, 2]."""
    if dataset == "ring":
        angles = np.arange(8) * 2 * math.pi / 8
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    side = np.arange(-4.0, 5.0, 2.0)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


def snapshot_cell(
    dataset: str,
    model: str,
    seed: int = 0,
    *,
    kept: int | None = None,
    diverged: int | None = None,
) -> Cell:
    """A cell that learnt `kept` modes, all where None, and stopped at the step `diverged`.

    Its frames show what its coverage says; as in a run, the lowest seed alone has any.
    """
    rng = np.random.default_rng([seed, sum(model.encode())])
    means = means_of(dataset)
    kept = len(means) if kept is None else kept
    steps = np.arange(0, diverged or STEPS + 1, EVERY)
    learnt = 1 - np.exp(-steps / rng.uniform(200, 700))
    modes = np.minimum(kept, learnt * (kept + 1)).astype(int)
    coverage = {"step": steps, "modes": modes, "high_quality": 0.95 * learnt}
    stored = full_cell(dataset, model, seed)
    training = {**stored.training, "coverage": {k: v.tolist() for k, v in coverage.items()}}
    if diverged is not None:
        training["diverged"] = {"step": diverged, "steps": STEPS, "loss": "generator"}
    if seed:
        return replace(stored, training=training)
    shown = np.linspace(0, len(steps) - 1, 10).round().astype(int)
    frames = [_frame(rng, means[: max(1, modes[at])], learnt[at], SIGMA[dataset]) for at in shown]
    training["frame_steps"] = steps[shown].tolist()
    return replace(stored, training=training, frames=np.stack(frames))


def _frame(rng: np.random.Generator, means: np.ndarray, learnt: float, sigma: float) -> np.ndarray:
    """500 points that draw together around the modes, [500, 2]."""
    chosen = means[rng.integers(0, len(means), 500)]
    spread = sigma + 0.5 * (1 - learnt)
    return (learnt * chosen + spread * rng.standard_normal((500, 2))).astype(np.float32)
