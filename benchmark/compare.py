"""The command `compare`: two models on the same test examples, from stored results alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from benchmark.errors import UserError, unknown_name
from benchmark.manifest import Manifest, load_manifest, select_cells
from benchmark.metrics import METRICS
from benchmark.metrics.base import Metric
from benchmark.paired import Comparison, compare_likelihoods, in_bits
from benchmark.report.contents import answer, current, datasets_of, models_of, settings_key
from benchmark.report.numbers import MINUS, count, written
from benchmark.report.ranking import Standing, standing
from benchmark.report.text import WIDTH
from benchmark.store import Cell, Result

MOST_DECIMALS = 6
_METRICS = {metric.name: metric for metric in METRICS}


def comparison_text(folder: Path, first: str, second: str, dataset: str | None = None) -> str:
    """What `compare` prints: every data set that two models were both measured on.

    Args:
        folder: of a suite's report.
        first: name of one model.
        second: name of the other.
        dataset: only this one, if given.

    Raises:
        UserError: a name is unknown, or there is nothing to compare.
    """
    manifest = load_manifest(folder)
    if manifest is None:
        raise UserError(f"no results in {folder}: run `python -m benchmark all` first")
    _check_names(manifest, first, second, dataset)
    by_dataset = datasets_of(select_cells(manifest, folder), list(manifest.datasets))
    found = {
        name: compare_on(cells, first, second)
        for name, cells in by_dataset.items()
        if dataset in (None, name)
    }
    if not any(isinstance(outcome, list) for outcome in found.values()):
        raise UserError(f"{first} and {second} can't be compared: {_reasons(found)}")
    head = f"{first} {MINUS} {second}: mean difference on the same test examples"
    blocks = [_block(name, outcome) for name, outcome in found.items()]
    return "\n\n".join([*_wrapped(head), *blocks, _how_to_read(first, second)])


def compare_on(cells: Sequence[Cell], first: str, second: str) -> list[Comparison] | str:
    """Compares two models on the data set of the cells, or says why that can't be done."""
    standings = {}
    for model in (first, second):
        known = _standing(model, models_of(cells, ()).get(model, {}))
        if isinstance(known, str):
            return f"{model} has no NLL of single examples: {known}"
        standings[model] = known
    nats = compare_likelihoods(standings[first], standings[second], cells[0].identity.dataset)
    if cells[0].levels is None:
        return [nats]
    return [nats, in_bits(nats, dims=math.prod(cells[0].shape))]


def _standing(model: str, cells: Mapping[int, Cell]) -> Standing | str:
    """What is known of a model's NLL, or why it can't be compared."""
    answers = _answers("nll", cells)
    found = standing(model, answers, _answers("bdmc_gap", cells))
    if found is None:
        return next((why for why in answers.values() if isinstance(why, str)), "not run")
    return found if found.examples is not None else "they are not stored"


def _answers(name: str, cells: Mapping[int, Cell]) -> dict[int, Result | str]:
    if name not in _METRICS:
        return {}
    metric = _METRICS[name]
    return {seed: _answer(cell, metric) for seed, cell in cells.items()}


def _answer(cell: Cell, metric: Metric) -> Result | str:
    settings = next((result.question.settings for result in current(cell, metric)), {})
    return answer(cell, metric, settings_key(settings))


def _check_names(manifest: Manifest, first: str, second: str, dataset: str | None) -> None:
    for model in (first, second):
        if model not in manifest.models:
            raise unknown_name("model", model, manifest.models)
    if first == second:
        raise UserError(f"{first!r} was given twice; compare takes two models")
    if dataset is not None and dataset not in manifest.datasets:
        raise unknown_name("data set", dataset, manifest.datasets)


def _reasons(found: Mapping[str, list[Comparison] | str]) -> str:
    """Why no data set has a comparison; each reason once."""
    datasets: dict[str, list[str]] = {}
    for dataset, why in found.items():
        datasets.setdefault(str(why), []).append(dataset)
    reasons = [f"on {', '.join(names)}, {why}" for why, names in datasets.items()]
    return "; ".join(reasons) or "neither was run"


def _block(dataset: str, outcome: list[Comparison] | str) -> str:
    if isinstance(outcome, str):
        return "\n".join(_wrapped(f"{dataset}: {outcome}"))
    first, second = outcome[0].seeds
    heading = f"{dataset}: {count(outcome[0].n)} examples; seeds: {first} and {second}"
    rows = [("", "difference", "95 % interval", "verdict"), *map(_row, outcome)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {interval:>{widths[2]}}  {verdict}".rstrip()
        for name, value, interval, verdict in rows
    ]
    remarks = [line for row in outcome for remark in row.remarks for line in _wrapped(remark)]
    return "\n".join([*_wrapped(heading), *lines, *remarks])


def _row(row: Comparison) -> tuple[str, str, str, str]:
    metric = row.metric
    name = metric.label if metric.label == metric.unit else f"{metric.label}, {metric.unit}"
    decimals = _decimals(row)
    ends = [_written(end, decimals) for end in (row.low, row.high)]
    return name, _written(row.difference, decimals), " to ".join(ends), row.verdict


def _decimals(row: Comparison) -> int:
    """The metric's own, or as many as show two digits of the interval's reach."""
    reaches = [abs(end - row.difference) for end in (row.low, row.high)]
    shown = [reach for reach in reaches if 0 < reach < math.inf]
    needed = 1 - math.floor(math.log10(min(shown))) if shown else 0
    return min(max(row.metric.decimals, needed), MOST_DECIMALS)


def _written(value: float, decimals: int) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    return written(value, decimals)


def _how_to_read(first: str, second: str) -> str:
    return "\n".join(
        _wrapped(
            f"Below zero {first} is better, above zero {second}; an interval that holds zero "
            "decides nothing. It covers the choice of test examples (bootstrap) and, given "
            "several seeds, of training seeds (Student's t)."
        )
    )


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH)
