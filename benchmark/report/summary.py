"""One row's value in one column: mean and spread over training seeds, and which rows are best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from benchmark.metrics.base import Better
from benchmark.report.contents import gathered
from benchmark.store import Meaning, Result

_WEAKEST_FIRST: Sequence[Meaning] = ("estimate", "upper bound", "lower bound", "sandwich", "exact")


@dataclass(frozen=True)
class Entry:
    """What a table shows in one place.

    Args:
        mean: over the measured seeds; None where there is none.
        spread: standard deviation over the seeds if there are several measured, the standard
            error of the one value if only one seed was asked for, else None.
        error: standard error of `mean`, of training and of measuring, by which ties are judged.
        measured, seeds: how many seeds gave a value, of how many.
        reasons: why seeds are missing.
        best: is the best of its kind in its column, or within error of it.
        measuring: standard error of one measurement, over examples; None where none is stored.
        words: written in place of the numbers; `mean` then says only where they sort.
        values: of the measured seeds.
    """

    mean: float | None
    spread: float | None
    error: float
    meaning: Meaning | None
    measured: int
    seeds: int
    reasons: tuple[str, ...] = ()
    best: bool = False
    measuring: float | None = None
    words: str | None = None
    values: tuple[float, ...] = ()


def derived(result: Result, value: float) -> Result:
    """A number of the result's details in the form of a result, so that it is summarised like one.

    It has the result's meaning, and no error.
    """
    return replace(result, value=value, standard_error=None, low=None, high=None)


def summarise(answers: Mapping[int, Result | str]) -> Entry:
    """Summarises one row's answers, {seed: result or why there is none}."""
    results = [found for found in answers.values() if isinstance(found, Result)]
    reasons = _reasons({s: why for s, why in answers.items() if isinstance(why, str)}, results)
    values = [result.value for result in results if result.value is not None]
    if not values:
        return Entry(None, None, 0.0, None, 0, len(answers), reasons)
    errors = [error for result in results if (error := evaluation_error(result)) is not None]
    spread = stdev(values) if len(values) > 1 else None
    measuring = math.sqrt(fmean(e**2 for e in errors)) if errors else None
    error = math.hypot((spread or 0.0) / math.sqrt(len(values)), measuring or 0.0)
    if len(answers) == 1:
        spread = errors[0] if errors else None
    return Entry(
        fmean(values),
        spread,
        error,
        _meaning(results),
        len(values),
        len(answers),
        reasons,
        measuring=measuring,
        values=tuple(values),
    )


def evaluation_error(result: Result) -> float | None:
    """Standard error of one measurement, from its 95 % interval if it holds no other."""
    if result.standard_error is not None:
        return result.standard_error
    if result.low is None or result.high is None:
        return None
    return (result.high - result.low) / (2 * 1.96)


def mark_best(column: Sequence[Entry], better: Better | None) -> list[Entry]:
    """Marks the best entries and those within error of them, each meaning among its own.

    An entry with no other of its meaning beside it stays unmarked: there is nothing it beats. So
    does one that lacks seeds: the missing ones may be those that went badly.
    """
    marked = list(column)
    whole = [entry for entry in column if entry.mean is not None and entry.measured == entry.seeds]
    for meaning in {entry.meaning for entry in whole}:
        rivals = [entry for entry in whole if entry.meaning == meaning]
        if better is None or len(rivals) < 2:
            continue
        leader = (min if better == "lower" else max)(rivals, key=_mean_of)
        marked = [
            replace(entry, best=True) if entry in rivals and _ties(entry, leader) else entry
            for entry in marked
        ]
    return marked


def _mean_of(entry: Entry) -> float:
    assert entry.mean is not None  # an entry with a meaning has a mean
    return entry.mean


def _ties(entry: Entry, leader: Entry) -> bool:
    reach = 1.96 * math.hypot(entry.error, leader.error)
    return abs(_mean_of(entry) - _mean_of(leader)) <= reach


def _meaning(results: Sequence[Result]) -> Meaning:
    """The weakest claim of the seeds: a mean that holds one bound is a bound."""
    return min((result.meaning or "estimate" for result in results), key=_WEAKEST_FIRST.index)


def _reasons(missing: Mapping[int, str], results: Sequence[Result]) -> tuple[str, ...]:
    sentences = gathered(missing.values())
    reasons = list(dict.fromkeys(sentences.values()))
    if not results:
        return tuple(reasons)
    seeds = {
        why: [s for s, other in missing.items() if sentences[other] == why] for why in reasons
    }
    return tuple(f"{_seeds(seeds[why])}: {why}" for why in reasons)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
