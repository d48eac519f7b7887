"""What each model loses on the examples of every single mode: a table beside that of modes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from benchmark.metrics import METRICS
from benchmark.metrics.mode_likelihood import FEW
from benchmark.report.contents import grouped, held_results, models_of
from benchmark.report.layout import Column
from benchmark.report.numbers import count
from benchmark.report.parts import Parts
from benchmark.report.summary import Entry, derived, summarise
from benchmark.store import Cell, Result

METRIC = next(metric for metric in METRICS if metric.name == "worst_mode_gap")
STORED = (METRIC.name, "weights")
NONE = "no test example of this mode"


def mode_gaps(cells: Sequence[Cell], models: Sequence[str]) -> Parts | None:
    """The mean true less the model's log-density on each mode, nats, a column a mode.

    None where no cell holds the gaps of all modes with their weights.
    """
    found = held_results(cells, models, *STORED)
    if not found:
        return None
    seeds = {model: sorted(its) for model, its in models_of(cells, models).items()}
    weights = next(iter(next(iter(found.values())).values())).details["weights"]
    return Parts(
        "mode_gaps",
        "Likelihood of each mode",
        tuple(_column(mode, weight) for mode, weight in enumerate(weights)),
        {
            model: tuple(_entry(mode, gaps, seeds[model]) for mode in range(len(weights)))
            for model, gaps in found.items()
        },
        grouped(cells, models, only=found),
        (
            "The mean of the true less the model's log-density over the test examples of a mode: "
            "0 for the true density, large where the model misses the mode. The largest of one "
            "seed is its worst mode gap.",
        ),
    )


def _column(mode: int, weight: float) -> Column:
    name = f"Mode {mode + 1}"
    details = ("nats", f"weight {weight:.3g}")
    return Column(name, METRIC.unit, METRIC.better, METRIC.decimals, details, f"mode_{mode + 1}")


def noting_few(entry: Entry, examples: Iterable[int]) -> Entry:
    """The entry with a note where it rests on few test examples in any seed."""
    counts = sorted(set(examples))
    few = [f"from {count(n)} test example{'s' * (n > 1)}" for n in counts if 0 < n < FEW]
    return replace(entry, reasons=(*entry.reasons, *few))


def _entry(mode: int, gaps: Mapping[int, Result], seeds: Sequence[int]) -> Entry:
    """One model's gap in one mode, over its seeds."""
    entry = summarise({seed: _gap(mode, gaps.get(seed)) for seed in seeds})
    return noting_few(entry, [result.details["examples"][mode] for result in gaps.values()])


def _gap(mode: int, result: Result | None) -> Result | str:
    """One number of the details."""
    if result is None:
        return "no gaps measured"
    value = result.details["gaps"][mode]
    if value is None:
        return NONE
    return derived(result, value)
