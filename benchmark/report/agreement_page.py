"""The page "Do the metrics agree?": who agrees with whom, and how sure that is."""

import csv
import io
from collections.abc import Mapping, Sequence

from benchmark.metrics.base import Metric
from benchmark.report.agreement import (
    LEAST_MODELS,
    REPEATS,
    Correlation,
    Pair,
    compared_metrics,
    correlations,
)
from benchmark.report.agreement_figures import agreement_figure
from benchmark.report.article import Article, Chapter, Listing, Written
from benchmark.report.contents import APART, datasets_of, group_of
from benchmark.report.layout import DASH
from benchmark.report.numbers import MINUS
from benchmark.report.scatter import likelihood_figure
from benchmark.store import Cell

TITLE = "Do the metrics agree?"
QUALITIES = ("fid", "wasserstein", "mmd")  # the first that was measured stands for quality
RULES = (
    (
        "Correlation.",
        "Spearman's, over cells (a model trained with one seed) of one data set: 1 where two "
        "metrics put the cells in the same order, −1 where the orders are opposite. Values are "
        "turned so that higher is better; a metric without a better way is taken as it is.",
    ),
    (
        "Interval.",
        f"95 %, from {REPEATS:,} bootstrap samples of the models, each with all its seeds. Not "
        "corrected for how many pairs there are: of unrelated pairs, one in twenty leaves out "
        "zero by chance.",
    ),
    (
        "All cells, or competitors.",
        "Ceilings and floors are far apart, so almost every metric orders them alike. Whether "
        "metrics agree on models that compete is seen without them.",
    ),
    (
        "Likelihoods",
        "of every meaning take part as they are stored: an upper bound may rank a model worse "
        f"than it is. Pairs that fewer than {LEAST_MODELS} models share are left out, and so are "
        "costs and the separate bounds.",
    ),
)


def agreement_page(
    cells: Sequence[Cell], datasets: Sequence[str], models: Sequence[str]
) -> Article | None:
    """The page, None where no two metrics share enough models.

    Args:
        cells: of one protocol.
        datasets: their order.
        models: the order of rows.
    """
    chapters = []
    for dataset, its in datasets_of(cells, datasets).items():
        everyone = correlations(its)
        if everyone:
            competitors = correlations([cell for cell in its if group_of(cell) != APART])
            chapters.append(_chapter(dataset, its, models, everyone, competitors))
    return Article("agreement", TITLE, RULES, chapters) if chapters else None


def _chapter(
    dataset: str,
    cells: Sequence[Cell],
    models: Sequence[str],
    everyone: Mapping[Pair, Correlation],
    competitors: Mapping[Pair, Correlation],
) -> Chapter:
    known = {metric.name: metric for metric in compared_metrics(cells)}
    used = {name for pair in everyone for name in pair}
    metrics = [metric for name, metric in known.items() if name in used]
    figures = [agreement_figure(dataset, metrics, everyone, competitors)]
    sentences = [_counted("all cells", everyone), _counted("competitors", competitors)]
    quality = next((known[name] for name in QUALITIES if name in known), None)
    if "nll" in known and quality is not None:
        scatter = likelihood_figure(dataset, cells, models, known["nll"], quality)
        figures += [scatter] if scatter else []
        sentences.append(_likelihood(quality, everyone, competitors))
    listing = _listing(dataset, known, everyone, competitors)
    return Chapter(dataset, [s for s in sentences if s], figures, [listing])


def _counted(of: str, pairs: Mapping[Pair, Correlation]) -> str:
    """How many pairs agree, contradict each other, and can't be told."""
    if not pairs:
        return f"Over {of}: too few models to tell."
    signs = [pair.sign for pair in pairs.values()]
    return (
        f"Over {of}, {len(signs)} pairs of metrics. Agree (interval above zero): "
        f"{signs.count(1)}; contradict each other (below zero): {signs.count(-1)}; undecided: "
        f"{signs.count(0)}."
    )


def _likelihood(
    quality: Metric,
    everyone: Mapping[Pair, Correlation],
    competitors: Mapping[Pair, Correlation],
) -> str:
    parts = [
        f"{_value(pairs['nll', quality.name])} {_interval(pairs['nll', quality.name])} over {of}"
        for of, pairs in (("all cells", everyone), ("competitors", competitors))
        if ("nll", quality.name) in pairs
    ]
    return f"Likelihood and {quality.label}: {', '.join(parts)}." if parts else ""


def _listing(
    dataset: str,
    metrics: Mapping[str, Metric],
    everyone: Mapping[Pair, Correlation],
    competitors: Mapping[Pair, Correlation],
) -> Listing:
    rows = [
        [
            *((metrics[name].label, metrics[name].label) for name in pair),
            *_written(found),
            *_written(competitors.get(pair)),
        ]
        for pair, found in everyone.items()
    ]
    head = ["Metric", "Other metric", "All cells", "95 % interval", "Models", "Competitors"]
    return Listing(
        f"agreement_{dataset}",
        f"All {len(rows)} pairs on {dataset}",
        [*head, "95 % interval", "Models"],
        [("", rows)],
        _csv(everyone, competitors),
        folded=True,
    )


def _written(found: Correlation | None) -> list[Written]:
    if found is None:
        return [(DASH, None)] * 3
    return [
        (_value(found), found.value),
        (_interval(found), found.low),
        (str(found.models), found.models),
    ]


def _value(found: Correlation) -> str:
    return f"{found.value:.2f}".replace("-", MINUS)


def _interval(found: Correlation) -> str:
    return f"[{found.low:.2f}, {found.high:.2f}]".replace("-", MINUS)


def _csv(everyone: Mapping[Pair, Correlation], competitors: Mapping[Pair, Correlation]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "other", "over", "correlation", "low", "high", "cells", "models"])
    for over, pairs in (("all cells", everyone), ("competitors", competitors)):
        for names, found in pairs.items():
            numbers = (found.value, found.low, found.high, found.cells, found.models)
            writer.writerow([*names, over, *numbers])
    return text.getvalue()
