"""How much faster a training step of PixelCNN++ is here than in a plain loop."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from benchmark.models import build, load_factory
from benchmark.randomness import derive_seed, fork_rng
from benchmark.spec import DataSpec
from benchmark.speed import sampling
from benchmark.speed.record import SpeedRecord, chosen, machine, place, publish, to_digits
from benchmark.speed.sampling import LEVELS, Case
from benchmark.speed.timing import has_bfloat16_units, wait

NAIVE = "zoo.naive_training:fit_naively"
ROUNDS = 3
STEPS = {"cpu": 2, "cuda": 40}  # timed in a round
EQUAL_STEPS = 2
BATCH, IMAGES = 32, 512
CASES = {name: sampling.CASES[name] for name in ("pixelcnn_pp_28", "pixelcnn_pp_32")}
PRECISIONS = {"plain": "32-true", "float32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Finding:
    """Median seconds of a step, and how far the first losses lie from the plain loop's."""

    seconds: float
    apart: float


class Stopwatch:
    """A log that keeps all losses, and times all steps but the last, which ends in validation.

    Args:
        precision: to train in.
        device: to train on.
    """

    folder = None

    def __init__(self, precision: str, device: torch.device) -> None:
        self.precision, self._device = precision, device
        self.losses: list[float] = []
        self._clock: dict[int, float] = {}  # when so many steps were over

    def __call__(self, step: int, total: int, **losses: float) -> None:
        self.losses.append(losses["loss"])

    def snapshot(self, step: int, total: int, sample: Callable[[int], Tensor]) -> None:
        """Looks at the clock only."""
        if step in (0, total - 1):
            wait(self._device)
            self._clock[step] = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of a step."""
        steps = max(self._clock)
        return (self._clock[steps] - self._clock[0]) / steps


def speed_training(
    console: Console,
    device: torch.device,
    folder: Path | None = None,
    only: Sequence[str] | None = None,
) -> None:
    """Measures, prints a table, and as the last line JSON with the ratios.

    Args:
        console: to print on.
        device: to train on.
        folder: where the table is left as well; only a full run leaves it.
        only: names of CASES; all if None.

    Raises:
        UserError: a name is unknown.
    """
    names = chosen(only, CASES, "model to train")
    # Fabric would announce bfloat16 at every training.
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    ways = [way for way in PRECISIONS if way != "bf16" or has_bfloat16_units(device)]
    found = {}
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("", total=(1 + ROUNDS) * len(ways) * len(names))
        for name in names:
            bars.update(task, description=name)
            found[name] = _measured(CASES[name], ways, device, lambda: bars.advance(task))
    publish(_record(found, device), console, folder if only is None else None)


def _measured(
    case: Case, ways: Sequence[str], device: torch.device, tick: Callable[[], None]
) -> dict[str, Finding]:
    with fork_rng(derive_seed("images to train on")):
        images = torch.randint(LEVELS, (IMAGES, *case.shape), dtype=torch.uint8)
    losses: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for way in ways:  # which warms the device up, too
        losses[way] = _first_losses(case, way, images, device)
        tick()
    for _ in range(ROUNDS):
        for way in ways:
            times[way].append(_trained(case, way, images, device, STEPS[device.type] + 1).seconds)
            tick()
    return {way: Finding(median(times[way]), _apart(losses[way], losses["plain"])) for way in ways}


def _first_losses(case: Case, way: str, images: Tensor, device: torch.device) -> list[float]:
    """Those of EQUAL_STEPS on one image, without dropout, so that nothing is left to chance."""
    still = Case(case.factory, case.shape, {**case.settings, "dropout": 0.0})
    return _trained(still, way, images[:1].expand_as(images), device, EQUAL_STEPS).losses


def _trained(case: Case, way: str, images: Tensor, device: torch.device, steps: int) -> Stopwatch:
    """Trains a new model, with the same weights each time."""
    watch = Stopwatch(PRECISIONS[way], device)
    settings = {**case.settings, "steps": steps, "batch_size": BATCH}
    with fork_rng(derive_seed("training to time")):
        model = build(case.factory, DataSpec(case.shape, LEVELS), settings).to(device)
        if way == "plain":
            load_factory(NAIVE)(model, images, 1.0, watch)
        else:
            there = images.to(device)
            model.fit(there, there[:1], 1.0, watch)
    return watch


def _apart(losses: Sequence[float], plain: Sequence[float]) -> float:
    pairs = zip(losses, plain, strict=True)
    return max(abs(loss - expected) / abs(expected) for loss, expected in pairs)


def _record(found: Mapping[str, Mapping[str, Finding]], device: torch.device) -> SpeedRecord:
    return SpeedRecord(
        name="training",
        title="Training steps against the plain loop",
        columns=("", "image", "way", "ms a step", "images/s", "ratio", "apart"),
        rows=[
            (
                name,
                "x".join(map(str, CASES[name].shape)),
                way if way == "plain" else f"ours, {PRECISIONS[way]}",
                f"{1e3 * finding.seconds:.0f}",
                f"{BATCH / finding.seconds:.1f}",
                f"{ways['plain'].seconds / finding.seconds:.2f}",
                f"{finding.apart:.0e}" if finding.apart else "0",
            )
            for name, ways in found.items()
            for way, finding in ways.items()
        ],
        notes=_notes(device),
        ratios={
            name + suffix: _ratio(ways, way)
            for name, ways in found.items()
            for suffix, way in (("", "float32"), ("_bf16", "bf16"))
        },
        machine=machine(device),
    )


def _ratio(ways: Mapping[str, Finding], way: str) -> float | None:
    return to_digits(ways["plain"].seconds / ways[way].seconds) if way in ways else None


def _notes(device: torch.device) -> list[str]:
    return [
        f"A step takes {BATCH} images with {LEVELS} levels, {place(device)}. Times are medians "
        f"of {ROUNDS} rounds in which all have their turn, with {STEPS[device.type]} steps each.",
        "Plain: torch's own ELU and dropout, channels first, Adam and the average of weights one "
        "parameter after another, batches put together from single images in the processor's "
        "memory, and every step waits for its loss. Ours has the data on the device, channels "
        "last, ELU in place, a dropout of its own, fused Adam, weights averaged together and "
        "losses that stay on the device; nothing is compiled.",
        f"Apart: how far the first {EQUAL_STEPS} losses differ from the plain loop's, relative "
        "to them, from the same weights, on a single image and without dropout. Models have "
        "their default size for such images; pixelcnn_pp_32 has 2 blocks and 64 filters.",
    ]
