"""The main job: every cell of a suite, side by side, and then the tables."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark.errors import UserError
from benchmark.launch import Outcome, exclusive, run_all
from benchmark.manifest import DataConditions, Manifest, load_manifest, row_order, select_cells
from benchmark.plan import Plan
from benchmark.planning import Options, conditions_by_dataset, in_groups, plan_cells
from benchmark.report import write_report
from benchmark.report.layout import sign
from benchmark.report.text import summary_table
from benchmark.store import Cell
from benchmark.suite import Suite

KEY_METRICS = {"bits_per_dim": "bits/dim", "nll": "NLL", "fid": "FID", "modes": "modes"}


def run_suite(
    suite: Suite,
    suite_order: Sequence[str],
    options: Options,
    workers: int | None,
    console: Console,
) -> list[Outcome]:
    """Runs what has no stored answer yet, writes the report, and gives the cells that failed."""
    with exclusive(options.runs / suite.name):
        plans = plan_cells(suite, options)
        folder = options.out / suite.name
        manifest = _manifest(suite, suite_order, plans, options).merged_into(load_manifest(folder))
        manifest.save(folder)
        todo = [plan for plan in plans if not plan.is_done()]
        workers = workers or default_workers(plans)
        console.print(
            f"{suite.title}: {len(plans)} cells, {len(plans) - len(todo)} done already; "
            f"{workers} at a time"
        )
        failed = _run(in_groups(todo), workers, manifest, folder, console)
        report_suite(folder, console)
        console.print(f"Tables, figures and page: {folder}{os.sep}")
        return failed


def report_suite(folder: Path, console: Console) -> None:
    """Writes tables, figures and page from the stored results alone.

    Raises:
        UserError: nothing is stored there.
    """
    manifest = load_manifest(folder)
    if manifest is None:
        raise UserError(f"no results in {folder}: run `python -m benchmark all` first")
    cells = select_cells(manifest, folder)
    if not cells:
        raise UserError(f"no results in {folder / 'results'}: run `python -m benchmark all` first")
    with _bars(console) as bars:
        task = bars.add_task("tables and figures of data sets", total=None)
        write_report(
            folder,
            title=manifest.title,
            cells=cells,
            models=manifest.models,
            datasets=list(manifest.datasets),
            published=manifest.published,
            claims=manifest.claims,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )


def default_workers(plans: Sequence[Plan]) -> int:
    """One cell a core on a CPU; on a GPU a few, since small models leave it idle."""
    cores = os.cpu_count() or 1
    return min(4, cores) if any(plan.device == "cuda" for plan in plans) else cores


def _manifest(
    suite: Suite, suite_order: Sequence[str], plans: list[Plan], options: Options
) -> Manifest:
    conditions = conditions_by_dataset(plans)
    return Manifest(
        title=suite.title,
        description=suite.description,
        budget=options.budget,
        models=row_order(suite_order, [model.name for model in suite.models]),
        datasets={name: DataConditions(**asdict(given)) for name, given in conditions.items()},
        published=suite.published,
        claims=suite.claims,
    )


def _run(
    groups: Sequence[Sequence[Plan]],
    workers: int,
    manifest: Manifest,
    folder: Path,
    console: Console,
) -> list[Outcome]:
    failed = []
    todo = [plan for plans in groups for plan in plans]
    left = {plan.identity.dataset: 0 for plan in todo}
    for plan in todo:
        left[plan.identity.dataset] += 1
    with _bars(console) as bars:
        overall = bars.add_task("all cells", total=len(todo))
        tasks: dict[str, object] = {}

        def watch(plans: Sequence[Plan], stage: str, step: int, total: int) -> None:
            name = plans[0].identity.file_name
            if name not in tasks:
                tasks[name] = bars.add_task("", total=None)
            description = f"{_name(*plans)}: {stage}"
            bars.update(tasks[name], description=description, completed=step, total=total)  # type: ignore[arg-type]

        for outcome in run_all(groups, workers, watch):
            plan = outcome.plan
            if (task := tasks.pop(plan.identity.file_name, None)) is not None:
                bars.remove_task(task)  # type: ignore[arg-type]
            bars.advance(overall)
            if outcome.failure:
                failed.append(outcome)
            bars.console.print(_line(outcome), markup=False, highlight=False, soft_wrap=True)
            left[plan.identity.dataset] -= 1
            if not left[plan.identity.dataset]:
                cells = [
                    cell
                    for cell in select_cells(manifest, folder)
                    if cell.identity.dataset == plan.identity.dataset
                ]
                table = summary_table(cells, manifest.models)
                bars.console.print(table, markup=False, highlight=False)
    return failed


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _name(plan: Plan, *others: Plan) -> str:
    head = f"{plan.identity.dataset} {plan.identity.model} seed"
    if not others:
        return f"{head} {plan.identity.seed}"
    return f"{head}s {', '.join(str(each.identity.seed) for each in (plan, *others))}"


def _line(outcome: Outcome) -> str:
    head = f"{_name(outcome.plan)}: "
    if outcome.failure:
        return f"{head}failed: {outcome.failure}"
    cell = outcome.plan.stored()
    assert cell is not None
    return f"{head}{_key_values(cell)} ({outcome.seconds:.0f} s)"


def _key_values(cell: Cell) -> str:
    """The few values that tell at a glance how a cell went."""
    if (ended := cell.training.get("diverged")) is not None:
        return f"training diverged at step {ended['step']:,} of {ended['steps']:,}"
    found = {
        result.question.metric: result for result in cell.results if result.status == "measured"
    }
    if "bits_per_dim" in found:
        found.pop("nll", None)
    shown = [
        f"{label} {sign(found[name].meaning)}{found[name].value:.4g}"
        for name, label in KEY_METRICS.items()
        if name in found
    ]
    return ", ".join(shown) or "measured"
