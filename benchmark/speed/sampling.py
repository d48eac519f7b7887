"""How much faster pixels are drawn with kept activations than by running the whole network."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from benchmark.models import build, load_factory
from benchmark.randomness import derive_seed, fork_rng
from benchmark.spec import DataSpec
from benchmark.speed.record import SpeedRecord, chosen, machine, place, publish, to_digits
from benchmark.speed.timing import seconds

NAIVE = "zoo.naive_sampling:pixels_naively"
NAIVE_SECONDS, ROUNDS = 60.0, 3
IMAGES = {"cpu": 16, "cuda": 64}
LEVELS = 256


@dataclass(frozen=True)
class Case:
    """A model of images of `shape` by the path of its factory, with `settings`."""

    factory: str
    shape: tuple[int, int, int]
    settings: Mapping[str, Any] = field(default_factory=dict)


GREY, RGB = (1, 28, 28), (3, 32, 32)
CASES = {
    "pixelcnn_pp_28": Case("zoo.pixelcnn_pp:PixelCNNpp", GREY),
    "pixelcnn_pp_32": Case("zoo.pixelcnn_pp:PixelCNNpp", RGB, {"filters": 64, "blocks": 2}),
    "pixelcnn_28": Case("zoo.pixelcnn:PixelCNN", GREY),
    "gated_pixelcnn_28": Case("zoo.gated_pixelcnn:GatedPixelCNN", GREY),
    "row_lstm_28": Case("zoo.pixelrnn:PixelRNN", GREY, {"kind": "row"}),
    "diagonal_bilstm_28": Case("zoo.pixelrnn:PixelRNN", GREY, {"kind": "diagonal"}),
}


@dataclass(frozen=True)
class Finding:
    """Seconds for all pixels of the images, and how many of them the plain loop drew."""

    cached: float
    naive: float
    pixels: int
    are_equal: bool

    @property
    def ratio(self) -> float:
        return self.naive / self.cached


def speed_sampling(
    console: Console,
    device: torch.device,
    folder: Path | None = None,
    only: Sequence[str] | None = None,
) -> None:
    """Measures, prints a table, and as the last line JSON with the ratios.

    Args:
        console: to print on.
        device: to draw on.
        folder: where the table is left as well; only a full run leaves it.
        only: names of CASES; all if None.

    Raises:
        UserError: a name is unknown.
    """
    names = chosen(only, CASES, "model to draw from")
    found = {}
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("", total=2 * ROUNDS * len(names))
        for name in names:
            bars.update(task, description=name)
            found[name] = _measured(CASES[name], device, lambda: bars.advance(task))
    publish(_record(found, device), console, folder if only is None else None)


@torch.no_grad()
def _measured(case: Case, device: torch.device, tick: Callable[[], None]) -> Finding:
    with fork_rng(derive_seed("images to draw")):
        model = build(case.factory, DataSpec(case.shape, LEVELS), case.settings)
        conditionals = model.to(device).conditionals
        uniform = torch.rand(IMAGES[device.type], *conditionals.noise_shape, device=device)
    blank = torch.zeros(len(uniform), *case.shape, device=device)
    loop = _Loop(load_factory(NAIVE)(conditionals, uniform, blank), device)
    drawn: list[Tensor] = []

    def draw() -> None:
        drawn.append(conditionals.draw(uniform, blank, 0, None))

    cached = []
    for _ in range(ROUNDS):
        cached.append(seconds(draw, device))
        tick()
        loop.run(NAIVE_SECONDS / ROUNDS)
        tick()
    naive = median(loop.times) * math.prod(case.shape[1:])
    return Finding(median(cached), naive, len(loop.times), loop.agrees_with(drawn[0]))


class _Loop:
    """The plain loop, run for a while at a time.

    Args:
        images: gives them after every pixel.
        device: they are drawn on.
    """

    def __init__(self, images: Iterator[Tensor], device: torch.device) -> None:
        self._images, self._device = images, device
        self._drawn: list[Tensor] = []
        self.times: list[float] = []  # of each pixel

    def run(self, limit: float) -> None:
        """Draws as many pixels as fit in `limit` seconds, at least one while there are some."""
        started = time.perf_counter()
        while True:
            taken = seconds(lambda: self._drawn.extend(islice(self._images, 1)), self._device)
            if len(self._drawn) == len(self.times):
                break
            self.times.append(taken)
            if time.perf_counter() - started > limit:
                break

    def agrees_with(self, images: Tensor) -> bool:
        """Whether the pixels drawn so far are those of `images`."""
        pixels = len(self.times)
        return torch.equal(*(x.flatten(2)[..., :pixels] for x in (self._drawn[-1], images)))


def _record(found: Mapping[str, Finding], device: torch.device) -> SpeedRecord:
    return SpeedRecord(
        name="sampling",
        title="Cached sampling against the plain loop",
        columns=("", "image", "naive, s", "cached, s", "ratio", "pixels timed", "equal"),
        rows=[
            (
                name,
                "x".join(map(str, CASES[name].shape)),
                f"{finding.naive:.0f}",
                f"{finding.cached:.2f}",
                f"{finding.ratio:.0f}",
                str(finding.pixels),
                "yes" if finding.are_equal else "no",
            )
            for name, finding in found.items()
        ],
        notes=[
            f"Seconds to draw {IMAGES[device.type]} images with {LEVELS} levels, "
            f"{place(device)}; medians of {ROUNDS} rounds in which both have their turn.",
            "The plain loop runs the whole network for every pixel (and channel, where these are "
            "drawn one after another). It is timed on as many pixels as fit in "
            f"{NAIVE_SECONDS:.0f} seconds, and their median is scaled to all of them.",
            "Equal: whether these pixels are those of cached sampling, given the same random "
            "numbers. Models have their default size for such images, without training; "
            "pixelcnn_pp_32 has 2 blocks and 64 filters.",
        ],
        ratios={name: to_digits(finding.ratio) for name, finding in found.items()},
        machine=machine(device),
    )
