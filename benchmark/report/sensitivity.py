"""What a metric makes of graded damage: its response to each kind, and whether it notices."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from benchmark.metrics import METRICS
from benchmark.metrics.base import OF_SAMPLES, Metric
from benchmark.report.agreement import measured
from benchmark.report.contents import is_p_value, models_of
from benchmark.report.summary import Entry, summarise
from benchmark.store import Cell

INTACT = "intact"
NOTICED = 3.0  # units of the intact row's spread
BACKWARDS = 1.0  # units that it may fall back behind a weaker grade, or
BACKWARDS_SHARE = 0.05  # of the largest response
Verdict = Literal["monotone", "monotone, rewarded", "uneven", "uneven, rewarded", "blind"]
_NAME = re.compile(r"(?P<kind>.+)_(?P<grade>[1-9])")


@dataclass(frozen=True)
class Response:
    """Of one metric to one kind of damage.

    Args:
        grades: ascending.
        units: for each grade, how far the mean moved from the intact row's, in units of that
            row's spread; positive is worse, or larger where a metric has no better way.
    """

    metric: Metric
    kind: str
    grades: tuple[int, ...]
    units: tuple[float, ...]

    @property
    def verdict(self) -> Verdict:
        """Blind, or whether the response grows from grade to grade, and which way.

        Blind: no grade moved the metric by NOTICED units. Monotone: the strongest grade did, and
        on the way to it, from the intact row on, it never fell back by more than noise allows.
        Uneven: anything between. Rewarded: the largest response says "better".
        """
        largest = max(self.units, key=abs)
        if abs(largest) < NOTICED:
            return "blind"
        rewarded = largest < 0 and self.metric.better is not None
        if self._is_monotone(largest):
            return "monotone, rewarded" if rewarded else "monotone"
        return "uneven, rewarded" if rewarded else "uneven"

    def _is_monotone(self, largest: float) -> bool:
        allowed = max(BACKWARDS, BACKWARDS_SHARE * abs(largest))
        sign = 1 if largest > 0 else -1
        path = [sign * units for units in (0.0, *self.units)]
        falls = [highest - here for highest, here in zip(accumulate(path, max), path, strict=True)]
        return max(falls) <= allowed and path[-1] >= NOTICED


def kinds_of(names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """{kind of damage: its grades} of the rows that are named `<kind>_<grade>`.

    Empty unless an intact row is there to compare with.
    """
    names = list(names)
    found: dict[str, list[int]] = {}
    for match in filter(None, map(_NAME.fullmatch, names)):
        found.setdefault(match["kind"], []).append(int(match["grade"]))
    several = {kind: tuple(sorted(grades)) for kind, grades in found.items() if len(grades) > 1}
    return several if INTACT in names else {}


def responses(cells: Sequence[Cell], models: Sequence[str] = ()) -> list[Response]:
    """Of every metric of samples and modes to every kind of damage on one data set.

    P-values are left out: between 0 and 1 they have no room to move by their own spread, and the
    statistics that they judge are metrics too. So are metrics without a value for the intact row
    or without any error to measure a response by, and kinds with a grade that has no value.
    """
    by_model = models_of(cells, models)
    kinds = kinds_of(by_model)
    found = []
    for metric in METRICS:
        if kinds and metric.table in (*OF_SAMPLES, "modes") and not is_p_value(metric):
            entries = {model: _entry(metric, its) for model, its in by_model.items()}
            found += [_response(metric, kind, grades, entries) for kind, grades in kinds.items()]
    return [response for response in found if response is not None]


def unit_of(entries: Mapping[str, Entry]) -> float:
    """What a response is measured in: how far one value of the intact row may stray by chance.

    The larger of its standard deviation over seeds and its standard error of measuring: three
    seeds that happen to agree do not make a metric look sharp. Where both are zero, as of a share
    that is zero throughout, the smallest of another row that is not.
    """
    strays = {model: _stray(entry) for model, entry in entries.items()}
    others = [stray for stray in strays.values() if stray > 0]
    return strays[INTACT] or min(others, default=0.0)


def _stray(entry: Entry) -> float:
    over_seeds = entry.spread if entry.measured > 1 else None
    return max(over_seeds or 0.0, entry.measuring or 0.0)


def _entry(metric: Metric, its: Mapping[int, Cell]) -> Entry:
    return summarise(
        {seed: measured(cell, metric) or "not measured" for seed, cell in its.items()}
    )


def _response(
    metric: Metric, kind: str, grades: tuple[int, ...], entries: Mapping[str, Entry]
) -> Response | None:
    """None where it can't be had."""
    intact, unit = entries[INTACT].mean, unit_of(entries)
    means = [entries[f"{kind}_{grade}"].mean for grade in grades]
    if intact is None or unit == 0 or None in means:
        return None
    sign = -1 if metric.better == "higher" else 1
    units = (sign * (mean - intact) / unit for mean in means if mean is not None)
    return Response(metric, kind, grades, tuple(units))
