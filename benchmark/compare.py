"""The command `compare`: two models in every metric, from stored results alone."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from benchmark.errors import UserError, unknown_name
from benchmark.manifest import Manifest, load_manifest, select_cells
from benchmark.paired import Comparison
from benchmark.report.contents import datasets_of
from benchmark.report.numbers import MINUS, count, listed, written
from benchmark.report.text import WIDTH
from benchmark.verdicts import Verdicts, compare_cells

MOST_DECIMALS = 6
LONGEST_NAME = 14  # characters of a model in the column of verdicts
SMALLEST_SHOWN = 0.001  # p-value
ARROWS = {"lower": "↓", "higher": "↑"}


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
        name: compare_cells(cells, first, second)
        for name, cells in by_dataset.items()
        if dataset in (None, name)
    }
    if not any(verdicts.rows for verdicts in found.values()):
        raise UserError(f"{first} and {second} can't be compared: {_reasons(found)}")
    return verdicts_text(found, first, second)


def verdicts_text(found: Mapping[str, Verdicts], first: str, second: str) -> str:
    """The comparisons of two models for a terminal of 80 columns.

    Args:
        found: what was found on each data set.
        first: name of one model.
        second: name of the other.
    """
    head = f"{first} {MINUS} {second}: mean differences on the same real data"
    blocks = [_block(name, verdicts) for name, verdicts in found.items()]
    return "\n\n".join([*_wrapped(head), *blocks, _how_to_read()])


def _check_names(manifest: Manifest, first: str, second: str, dataset: str | None) -> None:
    for model in (first, second):
        if model not in manifest.models:
            raise unknown_name("model", model, manifest.models)
    if first == second:
        raise UserError(f"{first!r} was given twice; compare takes two models")
    if dataset is not None and dataset not in manifest.datasets:
        raise unknown_name("data set", dataset, manifest.datasets)


def _reasons(found: Mapping[str, Verdicts]) -> str:
    """Why no data set has a comparison: of each its first reason, each reason once."""
    datasets: dict[str, list[str]] = {}
    for dataset, verdicts in found.items():
        label, why = next(iter(verdicts.missing.items()))
        datasets.setdefault(f"no {label} of {why}", []).append(dataset)
    reasons = [f"on {', '.join(names)}, {why}" for why, names in datasets.items()]
    return "; ".join(reasons) or "neither was run"


def _block(dataset: str, verdicts: Verdicts) -> str:
    missing = _missing(verdicts.missing)
    if not verdicts.rows:
        return "\n".join([f"{dataset}: nothing to compare", *missing])
    seeds = Counter(row.seeds for row in verdicts.rows).most_common(1)[0][0]
    heading = f"{dataset}: seeds: {seeds[0]} and {seeds[1]}; {_sizes(verdicts.rows)}"
    table = [("", "difference", "95 % interval", "p", "verdict"), *map(_row, verdicts.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {interval:>{widths[2]}}"
        f"  {p_value:>{widths[3]}}  {verdict}".rstrip()
        for name, value, interval, p_value, verdict in table
    ]
    remarks = [remark for row in verdicts.rows for remark in _remarks(row, seeds)]
    notes = [line for remark in dict.fromkeys(remarks) for line in _wrapped(remark)]
    return "\n".join([*_wrapped(heading), *lines, *notes, *missing])


def _remarks(row: Comparison, seeds: tuple[int, int]) -> list[str]:
    if row.seeds == seeds:
        return list(row.remarks)
    first, second = row.seeds
    return [f"{row.metric.label}: measured in {first} and {second} seeds.", *row.remarks]


def _sizes(rows: Sequence[Comparison]) -> str:
    """`n: 2,500, 2,000 for NLL`: how many examples or samples the rows rest on."""
    usual = Counter(row.n for row in rows).most_common(1)[0][0]
    others: dict[int, list[str]] = {}
    for row in rows:
        if row.n != usual:
            others.setdefault(row.n, []).append(row.metric.label)
    exceptions = [f"{count(n)} for {listed(labels)}" for n, labels in others.items()]
    return ", ".join([f"n: {count(usual)}", *exceptions])


def _missing(reasons: Mapping[str, str]) -> list[str]:
    """Which metrics are not compared and why, each reason once."""
    labels: dict[str, list[str]] = {}
    for label, why in reasons.items():
        labels.setdefault(why, []).append(label)
    sentences = [f"Not compared: {listed(names)} ({why})." for why, names in labels.items()]
    return [line for sentence in sentences for line in _wrapped(sentence)]


def _row(row: Comparison) -> tuple[str, str, str, str, str]:
    metric = row.metric
    unit = ", nats" if metric.name == "nll" else ""
    arrow = ARROWS[metric.better] if metric.better else ""
    decimals = _decimals(row)
    ends = [_written(end, decimals) for end in (row.low, row.high)]
    verdict = _shortened(row.verdict)
    p_value = _probability(row.p_value if row.corrected is None else row.corrected)
    interval = " to ".join(ends)
    return (
        f"{metric.label}{unit} {arrow}",
        _written(row.difference, decimals),
        interval,
        p_value,
        verdict,
    )


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _probability(p_value: float) -> str:
    return f"<{SMALLEST_SHOWN}" if p_value < SMALLEST_SHOWN else f"{p_value:.3f}"


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


def _how_to_read() -> str:
    return "\n".join(
        _wrapped(
            "↓ lower is better, ↑ higher. A verdict needs p of at most 0.05, which is corrected "
            "for the number of metrics of a data set (Benjamini-Hochberg); the interval is of "
            "one metric by itself. Both cover the choice of real data and of samples (bootstrap "
            "of test examples for NLL, random halves for sample metrics) and, given several "
            "seeds, of training seeds (Student's t)."
        )
    )


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH)
