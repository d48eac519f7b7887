"""Runs the repeats of studies side by side; what is done is kept, and not done again."""

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from benchmark.store import write_atomically

AT_ONCE = 25  # repeats between two writings of a file
DIGITS = 9

Repeats = dict[int, dict[str, Any]]
Watch = Callable[[str, int], None]


def simulate(studies: Sequence[Any], folder: Path, workers: int, watch: Watch) -> None:
    """Computes every repeat that is not kept yet.

    Each repeat draws under its own number, so that neither the order nor the number of workers
    changes a value.

    Args:
        studies: each with `name`, `repeats`, `question` and `repeat(number)`.
        folder: where the repeats are kept, a file for each study.
        workers: processes, each on one thread; with 1 nothing is started.
        watch: told of (study, repeats done just now).
    """
    kept = {study.name: load_repeats(study, folder) for study in studies}
    parts = [
        (study, numbers)
        for study in studies
        for numbers in _parts([n for n in range(study.repeats) if n not in kept[study.name]])
    ]
    for study, found in _computed(parts, workers):
        kept[study.name].update(found)
        _save(study, kept[study.name], folder)
        watch(study.name, len(found))


def load_repeats(study: Any, folder: Path) -> Repeats:
    """The kept repeats by number; none where they answer another question."""
    path = folder / f"{study.name}.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["question"] != json.loads(json.dumps(study.question)):
        return {}
    return {int(number): repeat for number, repeat in found["repeats"].items()}


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE))


def _computed(
    parts: Sequence[tuple[Any, list[int]]], workers: int
) -> Iterator[tuple[Any, Repeats]]:
    if workers == 1:
        yield from ((study, _repeated(study, numbers)) for study, numbers in parts)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, initializer=_take_one_thread) as pool:
        waiting = {pool.submit(_repeated, *part): part[0] for part in parts}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _take_one_thread() -> None:
    torch.set_num_threads(1)


def _repeated(study: Any, numbers: list[int]) -> Repeats:
    return {number: study.repeat(number) for number in numbers}


def _save(study: Any, repeats: Repeats, folder: Path) -> None:
    ordered = {str(number): _rounded(repeats[number]) for number in sorted(repeats)}
    content = {"question": study.question, "repeats": ordered}
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    write_atomically(folder / f"{study.name}.json", f"{text}\n".encode())


def _rounded(repeat: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [None if value is None else float(f"{value:.{DIGITS}g}") for value in values]
        for name, values in repeat.items()
    }
