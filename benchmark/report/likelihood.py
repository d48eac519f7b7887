"""The headline table: what each likelihood is worth, how rows stand to each other, in what order.

The metric NLL gains three columns that are derived from it: the places that no comparison with
another row excludes, what the value means, and its standard error over test examples.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmark.report.contents import APART, answer, held_results, models_of
from benchmark.report.layout import Column
from benchmark.report.numbers import count, listed, rounded_up
from benchmark.report.parts import Entries, Parts
from benchmark.report.ranking import Standing, leaders, rank_ranges, standing, undecided
from benchmark.report.summary import Entry
from benchmark.store import Cell, Result

TITLES = {
    "exact": "Exact",
    "sandwich": "Sandwich: a bound with its gap measured",
    "upper bound": "Upper bound, gap unknown",
    "estimate": "Estimate",
}
UNKNOWN = "No likelihood"
_MEANING = Column("Meaning", "what the value is to the true NLL", None, 0, (), "meaning")


def judged(parts: Parts, cells: Sequence[Cell], models: Sequence[str]) -> Parts:
    """The table with its derived columns; rows sorted by NLL within their meaning."""
    columns = {column.source.metric.name: column for column in parts.columns if column.source}
    if "nll" not in columns:
        return parts
    place = parts.columns.index(columns["nll"])
    values = {model: entries[place] for model, entries in parts.entries.items()}
    standings = _standings(columns, cells, models)
    apart = {name for title, names in parts.groups if title == APART for name in names}
    entries = _with_leaders(parts, [each for each in standings if each.model not in apart])
    head = _last_value(parts.columns) + 1
    places = rank_ranges(standings)
    added = {model: _derived(entry, places.get(model)) for model, entry in values.items()}
    return replace(
        parts,
        columns=(
            *parts.columns[:head],
            _rank_column(len(standings)),
            _MEANING,
            _error_column(columns["nll"]),
            *parts.columns[head:],
        ),
        entries={
            model: (*row[:head], *added[model], *row[head:]) for model, row in entries.items()
        },
        groups=_groups(values, apart),
        remarks=(
            *_of_ranks(standings),
            *_of_examples(columns["nll"], cells, models),
            *_of_quadrature(cells, models),
            *_of_annealing(columns["nll"], standings),
            *parts.remarks,
        ),
    )


def _standings(
    columns: Mapping[str, Column], cells: Sequence[Cell], models: Sequence[str]
) -> list[Standing]:
    def answers(metric: str, its: Mapping[int, Cell]) -> dict[int, Result | str]:
        source = columns[metric].source if metric in columns else None
        if source is None:
            return {}
        return {s: answer(cell, source.metric, source.settings) for s, cell in its.items()}

    found = [
        standing(model, answers("nll", its), answers("bdmc_gap", its))
        for model, its in models_of(cells, models).items()
    ]
    return [each for each in found if each is not None]


def _with_leaders(parts: Parts, standings: Sequence[Standing]) -> Entries:
    """Bold follows the comparisons where these can tell: among exact values, among sandwiches."""
    decided: dict[str, bool] = {}
    for meaning in ("exact", "sandwich"):
        rivals = [each for each in standings if each.meaning == meaning]
        best = leaders(rivals)
        decided |= {each.model: each.model in best for each in rivals}
    of_values = [_is_value(column) for column in parts.columns]
    return {
        model: tuple(
            replace(entry, best=decided[model]) if model in decided and is_value else entry
            for entry, is_value in zip(row, of_values, strict=True)
        )
        for model, row in parts.entries.items()
    }


def _derived(value: Entry, places: tuple[int, int] | None) -> tuple[Entry, Entry, Entry]:
    """Rank, meaning, error over examples; dashes with the value's reasons where it has none."""
    if value.mean is None:
        missing = replace(value, spread=None)
        return missing, missing, missing
    bare = replace(value, spread=None, meaning=None, measured=value.seeds, reasons=(), best=False)
    meaning = replace(bare, mean=float(_order(value)), words=_kind(value))
    error = replace(bare, mean=value.measuring)
    rank = replace(bare, mean=None)
    if places is not None:
        low, high = places
        rank = replace(bare, mean=low + high / 1_000, words=_span(low, high))
    return rank, meaning, error


def _groups(
    values: Mapping[str, Entry], apart: set[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    by_value = sorted(values, key=lambda model: _sort_key(values[model]))
    titles = {
        model: APART
        if model in apart
        else UNKNOWN
        if values[model].mean is None
        else TITLES[_kind(values[model])]
        for model in by_value
    }
    ordered = (*TITLES.values(), UNKNOWN, APART)
    groups = [(title, tuple(m for m in by_value if titles[m] == title)) for title in ordered]
    return tuple((title, names) for title, names in groups if names)


def _sort_key(value: Entry) -> tuple[int, float]:
    if value.mean is None:
        return len(TITLES), 0.0
    return _order(value), value.mean


def _order(value: Entry) -> int:
    return list(TITLES).index(_kind(value))


def _kind(value: Entry) -> str:
    return value.meaning if value.meaning in TITLES else "estimate"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def _error_column(nll: Column) -> Column:
    details = (nll.unit, "over examples")
    return Column("s.e.", nll.unit, None, nll.decimals, details, "nll_se_examples")


def _rank_column(total: int) -> Column:
    return Column("Rank", "places that no comparison excludes", None, 0, (f"of {total}",), "rank")


def _is_value(column: Column) -> bool:
    return column.source is not None and column.source.metric.name in ("nll", "bits_per_dim")


def _last_value(columns: Sequence[Column]) -> int:
    return max(place for place, column in enumerate(columns) if _is_value(column))


def _of_ranks(standings: Sequence[Standing]) -> list[str]:
    """How places were had, and which neighbours are not told apart."""
    if len(standings) < 2:
        return []
    remarks = [
        f"Rank: the places among all {len(standings)} rows with a likelihood that no comparison "
        "of two rows excludes at 95 %; differences are taken on the test examples both rows "
        "share, where these are stored, and widened by the BDMC gaps."
    ]
    if bounds := [each.model for each in standings if each.is_open]:
        remarks.append(
            f"Of {listed(bounds)} only an upper bound is known, and the truth may lie anywhere "
            "below: such a row is placed ahead where its bound decides, and never behind another."
        )
    return remarks + undecided(standings)


def _of_examples(nll: Column, cells: Sequence[Cell], models: Sequence[str]) -> list[str]:
    """How many test examples each row rests on, where the head cannot say it of all."""
    assert nll.source is not None
    rows: dict[int, dict[str, None]] = {}
    for model, its in models_of(cells, models).items():
        for cell in its.values():
            found = answer(cell, nll.source.metric, nll.source.settings)
            if isinstance(found, Result) and found.n is not None:
                rows.setdefault(found.n, {})[model] = None
    if len(rows) < 2:
        return []
    parts = [f"{count(n)} for {listed(list(rows[n]))}" for n in sorted(rows, reverse=True)]
    return [f"Test examples averaged over: {'; '.join(parts)}."]


def _of_quadrature(cells: Sequence[Cell], models: Sequence[str]) -> list[str]:
    """Whose exact values are integrals, and how good these are."""
    integrated = held_results(cells, models, "nll", "quadrature")
    if not integrated:
        return []
    found = [each.details["quadrature"] for its in integrated.values() for each in its.values()]
    error, checked = (max(each[name] for each in found) for name in ("error", "checked"))
    number = "one model" if len(integrated) == 1 else f"{count(len(integrated))} models"
    return [
        f"Exact values of {number} with latents are integrals over these by adaptive quadrature: "
        f"estimated error at most {rounded_up(error, 3)} nats an example; integrated again from "
        f"finer cells, some examples differ by at most {rounded_up(checked, 3)} nats."
    ]


def _of_annealing(nll: Column, standings: Sequence[Standing]) -> list[str]:
    """How far the sandwiches were annealed."""
    assert nll.source is not None
    annealing = json.loads(nll.source.settings).get("annealing")
    if annealing is None or all(each.meaning != "sandwich" for each in standings):
        return []
    draws = annealing.get("prior_draws", 0)
    beside = f" beside {count(draws)} draws from the prior" if draws else ""
    return [
        f"Sandwiches: AIS with {count(annealing['chains'])} chains and "
        f"{count(annealing['temperatures'])} temperatures for each example{beside}, the BDMC gap "
        f"on {count(annealing['simulated'])} examples that the model drew."
    ]
