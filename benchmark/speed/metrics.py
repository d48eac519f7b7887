"""How fast sample metrics are beside the other libraries, on the same inputs in one process."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from benchmark.errors import UserError
from benchmark.speed.contests import CONTESTS, OPTIONAL, SIDE, Contest
from benchmark.speed.record import SpeedRecord, chosen, machine, publish, to_digits
from benchmark.speed.timing import in_turn

ROUNDS = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Finding:
    """Median seconds of both, and how far their answers lie apart."""

    contest: Contest
    ours: float
    theirs: float
    agreement: str

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours


def speed_metrics(
    console: Console, folder: Path | None = None, only: Sequence[str] | None = None
) -> None:
    """Measures on the processor, prints a table, and as the last line JSON with the ratios.

    Args:
        console: to print on.
        folder: where the table is left as well; only a full run leaves it.
        only: names of CONTESTS; all if None.

    Raises:
        UserError: a name is unknown, or one of the other libraries is not installed.
    """
    names = chosen(only, CONTESTS, "comparison")
    for name in names:
        _check_installed(name)
    found = {}
    with Progress(console=console, transient=True) as bars, tempfile.TemporaryDirectory() as kept:
        task = bars.add_task("", total=2 * ROUNDS * len(names))
        for name in names:
            bars.update(task, description=name)
            found[name] = _held(CONTESTS[name](Path(kept)), lambda: bars.advance(task))
    publish(_record(found), console, folder if only is None else None)


def _check_installed(name: str) -> None:
    library = OPTIONAL.get(name)
    if library is not None and find_spec(library) is None:
        raise UserError(
            f"{name} is compared with {library}, which is not installed: pip install -e '.[test]'"
        )


def _held(contest: Contest, tick: Callable[[], None]) -> Finding:
    answers: dict[str, Any] = {}

    def kept(side: str, work: Callable[[], Any]) -> Callable[[], None]:
        return lambda: answers.update({side: work()})

    commands = {"ours": kept("ours", contest.ours), "theirs": kept("theirs", contest.theirs)}
    times = in_turn(commands, ROUNDS, CPU, tick)
    agreement = contest.agreement(answers["ours"], answers["theirs"])
    return Finding(contest, times["ours"], times["theirs"], agreement)


def _record(found: dict[str, Finding]) -> SpeedRecord:
    return SpeedRecord(
        name="metrics",
        title="Sample metrics beside other libraries",
        columns=("", "against", "inputs", "ours", "theirs", "ratio", "apart"),
        rows=[
            (
                name,
                finding.contest.library,
                finding.contest.size,
                f"{finding.ours:.3g}",
                f"{finding.theirs:.3g}",
                f"{finding.ratio:.2f}",
                finding.agreement,
            )
            for name, finding in found.items()
        ],
        notes=[
            f"Seconds are medians of {ROUNDS} calls in turn, on the same inputs: examples x "
            f"dimensions of either set, or RGB images of {SIDE} x {SIDE} pixels.",
            "Both have float32 inputs for prdc and float64 for the others, except that ours has "
            "float32 for sliced, where POT needs float64 to be as accurate.",
            "Apart: how far the answers differ, relative to theirs; for frechet_few_samples how "
            "far either is from the exact value, for sinkhorn from POT's limit: ours/theirs. "
            "There POT takes the loosest threshold with which it is as near to it as ours.",
        ],
        ratios={name: to_digits(finding.ratio) for name, finding in found.items()},
        machine=machine(CPU),
    )
