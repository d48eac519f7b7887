"""The likelihood that each model gives to every single class: a table beside that of modes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from benchmark.metrics import METRICS
from benchmark.report.contents import grouped, held_results, models_of
from benchmark.report.layout import Column
from benchmark.report.mode_gaps import noting_few
from benchmark.report.parts import Parts
from benchmark.report.summary import Entry, derived, summarise
from benchmark.store import Cell, Result

METRIC = next(metric for metric in METRICS if metric.name == "worst_class_gap")
STORED = (METRIC.name, "log_likelihood")
MOST_CLASSES = 20  # that are told one by one
NONE = "no test example of this class"


def class_likelihoods(cells: Sequence[Cell], models: Sequence[str]) -> Parts | None:
    """The mean log-likelihood of each class, nats, a column a class.

    None where no cell holds them, or there are more classes than a table has columns for.
    """
    found = results_of_classes(cells, models)
    if not found:
        return None
    entries = entries_of_classes(found, cells, models)
    missing = missing_classes(found)
    classes = max(map(len, entries.values()))
    return Parts(
        "class_likelihood",
        "Likelihood of each class",
        tuple(_column(each, is_missing=each in missing) for each in range(classes)),
        entries,
        grouped(cells, models, only=found),
        (
            "The mean log-likelihood of the test examples of a class. Classes differ in how hard "
            "they are; one that a model has missed lies far below its others.",
        ),
    )


def results_of_classes(
    cells: Sequence[Cell], models: Sequence[str]
) -> dict[str, dict[int, Result]]:
    """What the cells hold of their classes: {model: {seed: result}}.

    Empty where there are none, or so many that they are not told one by one.
    """
    found = held_results(cells, models, *STORED)
    most = max((len(r.details["log_likelihood"]) for r in _all(found)), default=0)
    return found if most <= MOST_CLASSES else {}


def entries_of_classes(
    found: Mapping[str, Mapping[int, Result]], cells: Sequence[Cell], models: Sequence[str]
) -> dict[str, tuple[Entry, ...]]:
    """{model: the mean log-likelihood of each class over seeds, with errors}."""
    seeds = {model: sorted(its) for model, its in models_of(cells, models).items()}
    classes = max(len(result.details["log_likelihood"]) for result in _all(found))
    return {
        model: tuple(_entry(each, its, seeds[model]) for each in range(classes))
        for model, its in found.items()
    }


def missing_classes(found: Mapping[str, Mapping[int, Result]]) -> set[int]:
    """The classes that have test examples and no training example."""
    return {
        each
        for result in _all(found)
        for each, learnt in enumerate(result.details.get("train_examples", ()))
        if not learnt and result.details["examples"][each]
    }


def _all(found: Mapping[str, Mapping[int, Result]]) -> Iterable[Result]:
    return chain.from_iterable(its.values() for its in found.values())


def _column(each: int, *, is_missing: bool) -> Column:
    details = ("nats", "not in training") if is_missing else ("nats",)
    return Column(
        f"Class {each}", METRIC.unit, "higher", METRIC.decimals, details, f"class_{each}"
    )


def _entry(each: int, its: Mapping[int, Result], seeds: Sequence[int]) -> Entry:
    """One model's mean in one class, over its seeds."""
    entry = summarise({seed: _of_class(each, its.get(seed)) for seed in seeds})
    return noting_few(entry, [result.details["examples"][each] for result in its.values()])


def _of_class(each: int, result: Result | None) -> Result | str:
    """One mean of the details with its error."""
    if result is None:
        return "no likelihood of classes measured"
    details = result.details
    value = details["log_likelihood"][each]
    if value is None:
        return NONE
    error = details["standard_errors"][each]
    return replace(derived(result, value), standard_error=error, meaning=details["meaning"])
