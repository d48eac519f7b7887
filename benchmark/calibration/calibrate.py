"""The command: simulate what is not kept yet, judge, and write."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark.calibration.report import Findings, as_markdown, findings, write
from benchmark.calibration.simulate import load_repeats, simulate
from benchmark.calibration.studies import STUDIES, Study, Verdicts
from benchmark.errors import unknown_name


def calibrate(
    console: Console,
    folder: Path,
    only: Sequence[str] | None = None,
    workers: int | None = None,
    studies: Sequence[Study | Verdicts] = STUDIES,
) -> Findings:
    """Prints what the simulations show and leaves it in a folder.

    Args:
        console: to print on.
        folder: for the three files; repeats are kept in its folder `repeats`.
        only: names of studies; nothing but their repeats is then left.
        workers: processes; else one a core.
        studies: to run.

    Raises:
        UserError: no study has such a name.
    """
    chosen = _chosen(studies, only)
    kept = folder / "repeats"
    missing = sum(study.repeats - len(load_repeats(study, kept)) for study in chosen)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        task = bars.add_task("", total=missing)

        def watch(study: str, done: int) -> None:
            bars.update(task, description=study, advance=done)

        simulate(chosen, kept, workers or os.cpu_count() or 1, watch)
    found = findings(chosen, kept)
    if only is None:
        write(found, folder)
    console.print(as_markdown(found), markup=False, soft_wrap=True)
    return found


def _chosen(
    studies: Sequence[Study | Verdicts], only: Sequence[str] | None
) -> Sequence[Study | Verdicts]:
    by_name = {study.name: study for study in studies}
    for name in only or []:
        if name not in by_name:
            raise unknown_name("study", name, by_name)
    return studies if only is None else [by_name[name] for name in only]
