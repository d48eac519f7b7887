"""Timing commands in turn, so that whatever else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of one call, a GPU's queue included."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def in_turn(
    commands: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Median seconds of each command over rounds in which every one has its turn."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, work in commands.items():
            times[name].append(seconds(work, device))
            tick()
    return {name: median(measured) for name, measured in times.items()}


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def wait(device: torch.device) -> None:
    """Returns when a GPU's queue is empty."""
    if device.type == "cuda":
        torch.cuda.synchronize()
