"""What the cells hold: their order, and the answer of one cell to one column."""

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Literal

from benchmark.metrics import METRICS
from benchmark.metrics.base import Metric
from benchmark.store import Cell, Result

Group = Literal["Models", "Baselines", "Ceilings and floors"]
GROUPS: tuple[Group, ...] = ("Models", "Baselines", "Ceilings and floors")
_DIVERGED = re.compile(r"training diverged at step ([\d,]+) of ([\d,]+)")
APART: Group = "Ceilings and floors"  # compete with nobody


def group_of(cell: Cell) -> Group:
    """Which part of a table the cell's row stands in."""
    if cell.role in ("ceiling", "floor"):
        return APART
    return "Baselines" if cell.role == "baseline" else "Models"


def ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """The distinct names, first those in `order`, then the others as they first come."""
    present = dict.fromkeys(names)
    known = [name for name in dict.fromkeys(order) if name in present]
    return known + [name for name in present if name not in known]


def datasets_of(cells: Sequence[Cell], order: Sequence[str]) -> dict[str, list[Cell]]:
    """The cells of each data set."""
    names = ordered((cell.identity.dataset for cell in cells), order)
    return {name: [c for c in cells if c.identity.dataset == name] for name in names}


def models_of(cells: Sequence[Cell], order: Sequence[str]) -> dict[str, dict[int, Cell]]:
    """The cells of one data set: {model: {seed: cell}}, seeds ascending."""
    by_seed = sorted(cells, key=lambda cell: cell.identity.seed)
    names = ordered((cell.identity.model for cell in cells), order)
    return {
        name: {c.identity.seed: c for c in by_seed if c.identity.model == name} for name in names
    }


def grouped(
    cells: Sequence[Cell], order: Sequence[str], only: Container[str] | None = None
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The models of one data set by their role: (group, names); no group is empty.

    Of `only` those models, if given.
    """
    all_models = models_of(cells, order)
    by_model = {name: its for name, its in all_models.items() if only is None or name in only}
    group = {model: group_of(next(iter(its.values()))) for model, its in by_model.items()}
    parts = [(name, tuple(model for model in group if group[model] == name)) for name in GROUPS]
    return tuple((name, members) for name, members in parts if members)


def seeds_of(cells: Iterable[Cell]) -> list[int]:
    return sorted({cell.identity.seed for cell in cells})


def diverged_at(cell: Cell) -> int | None:
    """The training step at which a loss was no number any more, None where that never was."""
    found = cell.training.get("diverged")
    return None if found is None else int(found["step"])


def is_p_value(metric: Metric) -> bool:
    """Whether it says how surprising another is: by its name, as `mmd_p` does of `mmd`."""
    return metric.name.endswith("_p")


def asked(cells: Iterable[Cell]) -> list[Metric]:
    """The metrics that any cell answers, by a value or a reason; all where none does."""
    answered = {result.question.metric for cell in cells for result in cell.results}
    return [metric for metric in METRICS if not answered or metric.name in answered]


def current(cell: Cell, metric: Metric) -> list[Result]:
    """The cell's results of a metric as it is computed today, in a fixed order."""
    found = list(cell.by_metric.get((metric.name, metric.version), ()))
    if len(found) > 1:
        found.sort(key=lambda result: settings_key(result.question.settings))
    return found


def first_results(
    cells: Sequence[Cell], models: Sequence[str], name: str, detail: str
) -> dict[str, tuple[int, Result]]:
    """Each model's result with a detail at its lowest seed that has one: {model: (seed, it)}."""
    held = held_results(cells, models, name, detail)
    return {model: next(iter(its.items())) for model, its in held.items()}


def held_results(
    cells: Sequence[Cell], models: Sequence[str], name: str, detail: str
) -> dict[str, dict[int, Result]]:
    """Every result with a detail: {model: {seed: it}}, of the models that have one."""
    held = {
        model: {seed: it for seed, cell in its.items() if (it := holding(cell, name, detail))}
        for model, its in models_of(cells, models).items()
    }
    return {model: its for model, its in held.items() if its}


def holding(cell: Cell | None, name: str, detail: str) -> Result | None:
    """The cell's measured result of the metric of that name, if it has that detail."""
    if cell is None or cell.failure:
        return None
    results = (
        result for metric in METRICS if metric.name == name for result in current(cell, metric)
    )
    return next((r for r in results if r.status == "measured" and r.details.get(detail)), None)


def settings_key(settings: Mapping[str, Any]) -> str:
    """Equal for equal settings, and the same in every run."""
    return json.dumps(dict(settings), sort_keys=True)


def answer(cell: Cell | None, metric: Metric, settings: str) -> Result | str:
    """The measured result in the column (metric, settings key), or why there is none."""
    if cell is None:
        return "not run"
    if cell.failure:
        return f"failed: {one_line(cell.failure)}"
    results = current(cell, metric)
    same = [result for result in results if settings_key(result.question.settings) == settings]
    for result in (*same, *results):
        if result.status != "measured":
            return reason_of(result)
        if result in same:
            return result
    return "measured with other settings" if results else "not measured yet"


def reason_of(result: Result) -> str:
    reason = one_line(result.reason or "no reason given")
    return f"failed: {reason}" if result.status == "failed" else reason


def gathered(reasons: Iterable[str]) -> dict[str, str]:
    """What to write for each reason: trainings that diverged share a sentence."""
    found = {why: _DIVERGED.fullmatch(why) for why in reasons}
    steps = [int(end[1].replace(",", "")) for end in found.values() if end]
    if len(steps) < 2:
        return {why: why for why in found}
    between = f"between steps {min(steps):,} and {max(steps):,}"
    return {
        why: f"training diverged {between} of {end[2]}" if end else why
        for why, end in found.items()
    }


def is_of_divergence(reason: str) -> bool:
    return _DIVERGED.fullmatch(reason) is not None


def one_line(text: str) -> str:
    """The text in one line, without control characters: it goes into every format."""
    return "".join(filter(str.isprintable, " ".join(text.split())))


def outdated(cells: Iterable[Cell]) -> int:
    """How many stored results a report leaves out, their metric having changed since."""
    versions = {(metric.name, metric.version) for metric in METRICS}
    questions = [result.question for cell in cells for result in cell.results]
    return sum((question.metric, question.version) not in versions for question in questions)
