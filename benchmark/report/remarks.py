"""The sentences around a table: how to read it, and what it does not show."""

from collections.abc import Collection, Sequence

from benchmark.metrics.base import OF_SAMPLES, Metric
from benchmark.report.contents import (
    current,
    diverged_at,
    gathered,
    holding,
    is_of_divergence,
    is_p_value,
    models_of,
    one_line,
    reason_of,
)
from benchmark.report.layout import Column, sign
from benchmark.report.numbers import MINUS, count, listed, written
from benchmark.report.parts import Parts
from benchmark.store import Cell, Meaning

_BOUNDS: dict[Meaning, str] = {"upper bound": "an upper bound", "lower bound": "a lower bound"}


def caption(parts: Parts, dataset: str, seeds: Sequence[int]) -> str:
    """What the table shows, what ± is, what bold is, and what the signs before values are."""
    entries = [entry for row in parts.entries.values() for entry in row if entry.mean is not None]
    signs = _signs(parts)
    sentences = [f"{parts.title} on {dataset}: {_spread(seeds)}."]
    if any(entry.best for entry in entries):
        apart = "; exact values, sandwiches and bounds each among their own" if signs else ""
        sentences.append(
            f"Bold: the best of models and baselines, and whatever is within error of it{apart}."
        )
    return " ".join([*sentences, *signs])


def units(columns: Sequence[Column]) -> list[str]:
    """The units of sample metrics, which their heads leave to network and sample count."""
    parts = {
        column.label: f"{column.label}: {column.unit}"
        for column in columns
        if column.source and column.source.metric.table in OF_SAMPLES
    }
    return [f"Units: {'; '.join(parts.values())}."] if parts else []


def p_values(columns: Sequence[Column], seeds: Sequence[int]) -> list[str]:
    """How to read the table's p-values, if it has any."""
    if not any(column.source and is_p_value(column.source.metric) for column in columns):
        return []
    shown = "the median over seeds, in brackets the lowest and highest; " * (len(seeds) > 1)
    return [
        f"P-values: {shown}where samples follow the data's distribution they are spread evenly "
        "over 0 to 1, so that one in twenty falls below 0.05."
    ]


def warnings(metrics: Sequence[Metric], cells: Sequence[Cell]) -> list[str]:
    """What measurements say of themselves, such as that the samples were few; each once.

    Those of diverged cells all say the same, for which there is `diverged`.
    """
    said = (
        f"{metric.label}: {remark}."
        for metric in metrics
        for cell in cells
        for result in current(cell, metric)
        if diverged_at(cell) is None and (remark := result.details.get("remark"))
    )
    return list(dict.fromkeys(said))


def copying(metrics: Sequence[Metric], cells: Sequence[Cell]) -> list[str]:
    """Which models repeat training examples more often than held-out data do."""
    tested: dict[str, list[bool]] = {}
    levels = set()
    for metric in metrics:
        for cell in cells:
            for result in current(cell, metric):
                if "flagged" in result.details:
                    levels.add(result.details["level"])
                    tested.setdefault(cell.identity.model, []).append(result.details["flagged"])
    if not tested:
        return []
    found = [
        f"{model} (in {sum(flags)} of {len(flags)} seeds)"
        for model, flags in tested.items()
        if any(flags)
    ]
    level = ", ".join(f"{level:g}" for level in sorted(levels))
    whom = listed(found) if found else "none"
    return [f"More copies of training examples than held-out data have (p < {level}): {whom}."]


def diverged(cells: Sequence[Cell], models: Sequence[str]) -> list[str]:
    """Which models did not come to the end of training, and what that does to a table of modes."""
    found = []
    for model, by_seed in models_of(cells, models).items():
        steps = [step for cell in by_seed.values() if (step := diverged_at(cell)) is not None]
        if steps:
            where = f"step{'s' if len(steps) > 1 else ''} {listed([*map(count, sorted(steps))])}"
            found.append(f"{model} in {len(steps)} of {len(by_seed)} seeds ({where})")
    if not found:
        return []
    return [
        f"Training diverged: {'; '.join(found)}. Such a seed counts as 0 where higher is better "
        "and has no value elsewhere."
    ]


def trained_together(cells: Sequence[Cell], models: Sequence[str]) -> list[str]:
    """Which rows' seeds trained as one batched model, and what that does to a table of cost."""
    sizes = {
        model: sorted({c.training["together"] for c in its.values() if "together" in c.training})
        for model, its in models_of(cells, models).items()
    }
    found = [f"{model} ({listed([*map(str, of)])} seeds)" for model, of in sizes.items() if of]
    if not found:
        return []
    return [
        f"Trained together: {listed(found)}. Each such seed has an equal share of the seconds of "
        "training, and the peak memory of all."
    ]


def floors(cells: Sequence[Cell]) -> list[str]:
    """What the KL divergence over modes is on average for as many samples of the truth."""
    held = (holding(cell, "mode_kl", "floor") for cell in cells)
    found = [float(result.details["floor"]) for result in held if result is not None]
    if not found:
        return []
    least, most = (written(end, 4) for end in (min(found), max(found)))
    span = least if least == most else f"{least} to {most}, the more the fewer they are"
    return [
        "KL over modes and forward KL: true samples, as many as are of high quality, have "
        f"(k {MINUS} 1) / 2n on average, a floor of {span}."
    ]


def dropped_metrics(metrics: Sequence[Metric], cells: Sequence[Cell]) -> list[str]:
    """Why each metric without any value has no column, those with one reason together."""
    why: dict[str, list[str]] = {}
    for metric in metrics:
        why.setdefault(_why_dropped(metric, cells), []).append(metric.label)
    return [f"No column for {listed(labels)}: {reason}." for reason, labels in why.items()]


def absent_models(models: Sequence[str], present: Collection[str]) -> list[str]:
    missing = [model for model in dict.fromkeys(models) if model not in present]
    return [f"Not run on this data set: {listed(missing)}."] if missing else []


def _signs(parts: Parts) -> list[str]:
    """What each sign in the table marks, a sandwich explained."""
    meanings = {
        entry.meaning for row in parts.entries.values() for entry in row if entry.mean is not None
    }
    sentences = []
    if "sandwich" in meanings:
        sentences.append(
            f"{sign('sandwich')}marks a sandwich: the value is a bound by annealed importance "
            "sampling (AIS) on the test data, and its distance from the truth (the BDMC gap) was "
            "measured on data simulated from the model."
        )
    if bounds := [bound for bound in _BOUNDS if bound in meanings]:
        first, *others = bounds
        marks = [f"{sign(first)}marks {_BOUNDS[first]}", *(sign(b) + _BOUNDS[b] for b in others)]
        sentences.append(f"{', '.join(marks)}.")
    return sentences


def _why_dropped(metric: Metric, cells: Sequence[Cell]) -> str:
    answers = (r for cell in cells for r in current(cell, metric) if r.status != "measured")
    results = [reason_of(answer) for answer in answers]
    failures = [f"failed: {one_line(cell.failure)}" for cell in cells if cell.failure]
    of_the_metric = [reason for reason in results if not is_of_divergence(reason)]
    found = of_the_metric or results or failures
    reasons = dict.fromkeys(gathered(found).values())
    return "; ".join(reason.rstrip(".") for reason in reasons) or "not measured yet"


def _spread(seeds: Sequence[int]) -> str:
    if len(seeds) > 1:
        return f"mean ± standard deviation over {len(seeds)} training seeds"
    return "value ± standard error of the measurement, one training seed"
