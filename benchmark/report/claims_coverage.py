"""Who captures all modes, and with which quality: a mode counts from a single sample on."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from benchmark.metrics import METRICS
from benchmark.report.agreement import measured
from benchmark.report.contents import APART, group_of, models_of
from benchmark.report.layout import DASH
from benchmark.report.numbers import listed, written
from benchmark.store import Cell

COVERAGE = "modes"
BESIDE = ("high_quality", "mode_kl")  # what modes alone do not say
METRIC = {metric.name: metric for metric in METRICS}
Means = Mapping[str, Mapping[str, float]]  # {metric: {model: mean over seeds}}


def coverage_sentences(cells: Sequence[Cell], models: Sequence[str], means: Means) -> list[str]:
    """Who captures all modes in every seed, in some, in none: as many as held-out data do."""
    full = max((_captured(cell) for cell in cells if cell.role == "ceiling"), default=0.0)
    if not full:
        return []
    rivals = models_of([cell for cell in cells if group_of(cell) != APART], models)
    complete = {
        model: (sum(_captured(cell) >= full for cell in its.values()), len(its))
        for model, its in rivals.items()
    }
    every = [_with_quality(model, "", means) for model, (s, of) in complete.items() if s == of]
    some = [
        _with_quality(model, f"{seeds} of {of}", means)
        for model, (seeds, of) in complete.items()
        if 0 < seeds < of
    ]
    never = [_with_quality(model, "", means) for model, (s, _) in complete.items() if not s]
    kinds = (("every seed", every), ("some seeds", some), ("no seed", never))
    return [f"All {full:g} modes in {when}: {listed(names)}." for when, names in kinds if names]


def _with_quality(model: str, seeds: str, means: Means) -> str:
    """`gan (3 of 5, High quality 0.364, KL over modes 1.214)`, as far as that is known."""
    known = [
        f"{METRIC[name].label} {written_mean(name, means[name][model])}"
        for name in BESIDE
        if model in means[name]
    ]
    facts = ", ".join([*filter(None, [seeds]), *known])
    return f"{model} ({facts})" if facts else model


def _captured(cell: Cell) -> float:
    """Modes; none where nothing was measured."""
    return _value(COVERAGE, cell) or 0.0


def _value(name: str, cell: Cell) -> float | None:
    result = measured(cell, METRIC[name])
    return None if result is None else result.value


def means_of(cells: Sequence[Cell]) -> Means:
    """The metrics of BESIDE, over the seeds that have a value."""
    by_model = models_of(cells, ())
    found: dict[str, dict[str, float]] = {name: {} for name in BESIDE}
    for name, means in found.items():
        for model, its in by_model.items():
            values = [v for cell in its.values() if (v := _value(name, cell)) is not None]
            means |= {model: fmean(values)} if values else {}
    return found


def written_mean(name: str, value: float | None) -> str:
    return DASH if value is None else written(value, METRIC[name].decimals)
