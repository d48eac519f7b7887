"""How well annealed importance sampling ran: what a reader checks before trusting a sandwich."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.report.contents import grouped, holding, models_of, seeds_of
from benchmark.report.layout import Column
from benchmark.report.parts import Parts
from benchmark.report.summary import Entry, derived, summarise
from benchmark.store import Cell, Result

_COLUMNS = {
    "temperatures": Column("Temperatures", "count", None, 0, (), "temperatures"),
    "acceptance": Column("Acceptance", "share", None, 3, ("share",), "acceptance"),
    "divergences": Column("Divergences", "share", "lower", 4, ("share",), "divergences"),
    "energy_error": Column("Energy error", "nats", "lower", 3, ("nats",), "energy_error"),
}


def diagnostics(cells: Sequence[Cell], models: Sequence[str]) -> Parts | None:
    """What the sampler saw of itself, a row a decoder; None where none was annealed."""
    by_model = models_of(cells, models)
    rows = {
        model: tuple(_entry(name, its, seeds_of(cells)) for name in _COLUMNS)
        for model, its in by_model.items()
        if any(sandwich_of(cell) for cell in its.values())
    }
    if not rows:
        return None
    return Parts(
        "ais_diagnostics",
        "AIS diagnostics",
        tuple(_COLUMNS.values()),
        rows,
        grouped(cells, models, only=rows),
        (
            "Of the chains behind the BDMC gap. Acceptance: mean share of accepted trajectories; "
            "divergences: share of trajectories that left the range of numbers; energy error: its "
            "mean absolute value over a trajectory. A frozen sampler (acceptance near 0 or 1) "
            "leaves the bounds valid and the gap wide.",
        ),
    )


def sandwich_of(cell: Cell | None) -> Result | None:
    """The cell's measured BDMC gap, if it holds what was seen on the way."""
    return holding(cell, "bdmc_gap", "curve")


def _entry(name: str, its: Mapping[int, Cell], seeds: Sequence[int]) -> Entry:
    return summarise({seed: _seen(name, sandwich_of(its.get(seed))) for seed in seeds})


def _seen(name: str, gap: Result | None) -> Result | str:
    """One number of the details."""
    if gap is None:
        return "no BDMC gap measured"
    value = _numbers(gap.details).get(name)
    if value is None:
        return "not stored"
    return derived(gap, value)


def _numbers(details: Mapping[str, Any]) -> Mapping[str, float | None]:
    temperatures = details["curve"]["temperatures"]
    return {**details, "temperatures": temperatures[-1] if temperatures else None}
