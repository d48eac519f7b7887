"""Two models on one data set: each metric that has a better side, p-values corrected together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.metrics import METRICS
from benchmark.metrics.base import OF_SAMPLES, Metric
from benchmark.paired import Comparison, compare_likelihoods, in_bits
from benchmark.paired_samples import compare_values
from benchmark.report.contents import answer, current, diverged_at, models_of, settings_key
from benchmark.report.p_values import benjamini_hochberg
from benchmark.report.ranking import Standing, standing
from benchmark.store import Cell, Result

TABLES = ("likelihood", *OF_SAMPLES, "modes")
COMPARED = tuple(
    metric for metric in METRICS if metric.table in TABLES and metric.better is not None
)
BOUNDS = ("sandwich", "lower bound", "upper bound")
OF_EXAMPLES = ("nll", "bits_per_dim")  # the second is the first in another unit
NO_ERROR = "no error bar is stored, and one seed shows none"
_METRICS = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Verdicts:
    """What can be said of two models on one data set.

    Args:
        rows: a comparison a metric, in the order of METRICS.
        missing: {label of a metric: why it can't be compared}.
    """

    rows: tuple[Comparison, ...]
    missing: Mapping[str, str]


def compare_cells(
    cells: Sequence[Cell], first: str, second: str, metrics: Sequence[Metric] = COMPARED
) -> Verdicts:
    """Compares two models in every metric of likelihood, samples and modes that has a direction.

    The p-values are corrected for the number of metrics. NLL and bits/dim are one metric in two
    units and count once.

    Args:
        cells: of one data set, measured under one protocol.
        first: name of one model.
        second: name of the other.
        metrics: which ones, if not all.
    """
    by_model = models_of(cells, ())
    found: dict[str, Comparison | str] = {}
    for metric in metrics:
        outcome = _compare(metric, cells, first, second)
        if isinstance(outcome, Comparison):
            outcome = _with_seeds_lost(outcome, by_model[first], by_model[second])
        found[metric.label] = outcome
    rows = [outcome for outcome in found.values() if isinstance(outcome, Comparison)]
    missing = {label: why for label, why in found.items() if isinstance(why, str)}
    return Verdicts(tuple(corrected_together(rows)), missing)


def corrected_together(rows: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with their p-values corrected for each other."""
    names = [row.metric.name for row in rows]
    alone = [row for row in rows if not (row.metric.name == "bits_per_dim" and "nll" in names)]
    adjusted = benjamini_hochberg([row.p_value for row in alone])
    by_name = {row.metric.name: p for row, p in zip(alone, adjusted, strict=True)}
    return [
        replace(row, corrected=by_name.get(row.metric.name, by_name.get("nll"))) for row in rows
    ]


def _with_seeds_lost(
    row: Comparison, first: Mapping[int, Cell], second: Mapping[int, Cell]
) -> Comparison:
    """The comparison when seeds of a model have no value because it did badly in them.

    How badly is not known: the interval reaches to infinity on the side where the model is worse,
    and it can't be found better.
    """
    for model, cells in ((row.first, first), (row.second, second)):
        lost = [cell for cell in cells.values() if _did_badly(cell, row.metric)]
        if lost:
            remark = (
                f"{model} {_how_badly(lost)} in {len(lost)} of {len(cells)} seeds: in a metric "
                "without a value there, it can be found worse, never better."
            )
            row = replace(_handicapped(row, model), remarks=(*row.remarks, remark))
    return row


def _handicapped(row: Comparison, model: str) -> Comparison:
    is_higher = (row.metric.better == "lower") == (model == row.first)  # when the model is worse
    leads = row.difference < 0 if is_higher else row.difference > 0
    return replace(
        row,
        low=row.low if is_higher else -math.inf,
        high=math.inf if is_higher else row.high,
        p_value=1.0 if leads else row.p_value,
    )


def _did_badly(cell: Cell, metric: Metric) -> bool:
    """Whether the cell has no value of the metric because training diverged or never got there."""
    if isinstance(_answer(cell, metric), Result):
        return False
    if diverged_at(cell) is not None:
        return True
    coverage = cell.training.get("coverage", {})
    return metric.name == "first_coverage" and bool(coverage.get("step"))


def _how_badly(cells: Sequence[Cell]) -> str:
    ended = any(diverged_at(cell) is not None for cell in cells)
    late = any(diverged_at(cell) is None for cell in cells)
    return " or ".join(["diverged"] * ended + ["never covered all modes"] * late)


def _compare(metric: Metric, cells: Sequence[Cell], first: str, second: str) -> Comparison | str:
    by_model = models_of(cells, ())
    its, others = by_model.get(first, {}), by_model.get(second, {})
    if metric.name in OF_EXAMPLES:
        return _compare_examples(metric, cells[0], (first, its), (second, others))
    results, other_results = _measured(metric, its), _measured(metric, others)
    for model, known in ((first, results), (second, other_results)):
        if isinstance(known, str):
            return f"{model}: {known}"
    assert not isinstance(results, str)
    assert not isinstance(other_results, str)
    if any(its.meaning in BOUNDS for its in (*results.values(), *other_results.values())):
        return "a bound, and by how much it is off is not known"
    outcome = compare_values(metric, (first, results), (second, other_results))
    return NO_ERROR if outcome is None else outcome


def _compare_examples(
    metric: Metric,
    cell: Cell,
    first: tuple[str, Mapping[int, Cell]],
    second: tuple[str, Mapping[int, Cell]],
) -> Comparison | str:
    """By values of single test examples, in nats or in bits."""
    if metric.name == "bits_per_dim" and cell.levels is None:
        return "for images of integers only"
    standings = []
    for model, its in (first, second):
        known = _standing(model, its)
        if isinstance(known, str):
            return f"{model}: {known}"
        standings.append(known)
    nats = compare_likelihoods(standings[0], standings[1], cell.identity.dataset)
    return nats if metric.name == "nll" else in_bits(nats, dims=math.prod(cell.shape))


def _standing(model: str, cells: Mapping[int, Cell]) -> Standing | str:
    """What is known of a model's NLL, or why it can't be compared."""
    answers = _answers("nll", cells)
    found = standing(model, answers, _answers("bdmc_gap", cells))
    if found is None:
        return _why_not(answers)
    return found if found.examples is not None else "values of single examples are not stored"


def _measured(metric: Metric, cells: Mapping[int, Cell]) -> dict[int, Result] | str:
    """{seed: result}, or why there is none."""
    answers = _answers(metric.name, cells)
    measured = {seed: its for seed, its in answers.items() if isinstance(its, Result)}
    return measured or _why_not(answers)


def _why_not(answers: Mapping[int, Result | str]) -> str:
    return next((why for why in answers.values() if isinstance(why, str)), "not run")


def _answers(name: str, cells: Mapping[int, Cell]) -> dict[int, Result | str]:
    if name not in _METRICS:
        return {}
    metric = _METRICS[name]
    return {seed: _answer(cell, metric) for seed, cell in cells.items()}


def _answer(cell: Cell, metric: Metric) -> Result | str:
    settings = next((result.question.settings for result in current(cell, metric)), {})
    return answer(cell, metric, settings_key(settings))
