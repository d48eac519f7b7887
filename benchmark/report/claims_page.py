"""The page "Do the methods recover modes?": what papers claim, tested over seeds."""

import csv
import io
from collections.abc import Sequence
from statistics import fmean, stdev

from benchmark.metrics import METRICS
from benchmark.report.agreement import measured
from benchmark.report.article import Article, Chapter, Listing, Written
from benchmark.report.claims import LEVEL, Claim, Trial, trials
from benchmark.report.contents import APART, datasets_of, group_of, models_of
from benchmark.report.layout import DASH
from benchmark.report.numbers import listed, written, written_with_spread
from benchmark.report.p_values import probability
from benchmark.store import Cell

TITLE = "Do the methods recover modes?"
RULES = (
    (
        "Claim.",
        "What a paper says of its method, put to the test here: with the settings of this suite, "
        "on the same data, with the same budget and the same seeds for both models. A claim that "
        "fails here may hold with the paper's networks and optimisers.",
    ),
    (
        "Test.",
        "Models are compared seed by seed. The p-value is the share of all ways to swap the two "
        "in each seed that give a lead as large as the one seen: exact, one-sided, and never "
        "below 1 in 2 to the power of the number of seeds in which they differ.",
    ),
    (
        "Corrected:",
        "for the number of claims on this page (Benjamini-Hochberg), and so are the p-values of "
        f"their opposites. A verdict needs a corrected p of at most {LEVEL:g}.",
    ),
    ("Holds:", "the model that is said to be better is better."),
    ("Contradicted:", "it is worse."),
    (
        "Undecided:",
        "neither is shown, for the reason that is given. Where both models have every mode in "
        "every seed there is nothing to recover.",
    ),
    (
        "Diverged training",
        "counts as no mode captured. Seeds in which one of the two has no value are left out.",
    ),
)
COVERAGE = "modes"
_NUMBERS = ("First", "Second", "Difference", "Seeds", "p", "Corrected")
_CSV_HEAD = (
    *("claim", "source", "dataset", "better", "than", "metric", "seeds", "better_mean"),
    *("than_mean", "difference", "p", "corrected", "reverse_p", "reverse_corrected"),
    *("verdict", "why"),
)


def claims_page(
    cells: Sequence[Cell],
    datasets: Sequence[str],
    models: Sequence[str],
    claims: Sequence[Claim],
) -> Article | None:
    """The page, None where no claim can be tested by what was run.

    Args:
        cells: of one protocol.
        datasets: their order.
        models: the order of rows.
        claims: of any data sets.
    """
    by_dataset = datasets_of(cells, datasets)
    tested = trials(cells, [claim for claim in claims if claim.dataset in by_dataset])
    of = {name: [t for t in tested if t.claim.dataset == name] for name in by_dataset}
    chapters = [_chapter(name, by_dataset[name], models, its) for name, its in of.items() if its]
    can_be_tested = any(trial.pairs for trial in tested)
    return Article("claims", TITLE, RULES, chapters) if can_be_tested else None


def _chapter(
    dataset: str, cells: Sequence[Cell], models: Sequence[str], tested: Sequence[Trial]
) -> Chapter:
    rows = [_row(trial) for trial in tested]
    title = f"Claims about {dataset}"
    head = ("Claim", "Compared", *_NUMBERS, "Verdict")
    listing = Listing(f"claims_{dataset}", title, head, [("", rows)], _csv(tested), wordy=True)
    sentences = [_counted(tested), *_coverage(cells, models), *_diverged(cells, models)]
    return Chapter(dataset, sentences, listings=[listing])


def _counted(tested: Sequence[Trial]) -> str:
    verdicts = [trial.verdict for trial in tested]
    counts = [f"{verdict}: {verdicts.count(verdict)}" for verdict in dict.fromkeys(verdicts)]
    return f"Of {len(tested)} claims: {', '.join(counts)}."


def _coverage(cells: Sequence[Cell], models: Sequence[str]) -> list[str]:
    """Who captures all modes in every seed, in some, in none: as many as held-out data do."""
    full = max((_captured(cell) for cell in cells if cell.role == "ceiling"), default=0.0)
    if not full:
        return []
    rivals = models_of([cell for cell in cells if group_of(cell) != APART], models)
    complete = {
        model: (sum(_captured(cell) >= full for cell in its.values()), len(its))
        for model, its in rivals.items()
    }
    every = [model for model, (seeds, of) in complete.items() if seeds == of]
    some = [f"{m} ({seeds} of {of})" for m, (seeds, of) in complete.items() if 0 < seeds < of]
    never = [model for model, (seeds, _) in complete.items() if not seeds]
    kinds = (("every seed", every), ("some seeds", some), ("no seed", never))
    return [f"All {full:g} modes in {when}: {listed(names)}." for when, names in kinds if names]


def _captured(cell: Cell) -> float:
    """Modes; none where nothing was measured."""
    metric = next(metric for metric in METRICS if metric.name == COVERAGE)
    result = measured(cell, metric)
    return 0.0 if result is None or result.value is None else result.value


def _diverged(cells: Sequence[Cell], models: Sequence[str]) -> list[str]:
    seeds = {
        model: (sum("diverged" in cell.training for cell in its.values()), len(its))
        for model, its in models_of(cells, models).items()
    }
    names = [f"{model} ({some} of {of} seeds)" for model, (some, of) in seeds.items() if some]
    return [f"Training diverged: {listed(names)}."] if names else []


def _row(trial: Trial) -> list[Written]:
    claim, metric = trial.claim, trial.metric
    said = (f"{claim.sentence} ({claim.source})", claim.sentence)
    compared = (f"{metric.label} of {claim.better} and {claim.than}", claim.better)
    verdict = (f"{trial.verdict}: {trial.why}" if trial.why else trial.verdict, trial.verdict)
    if not trial.pairs:
        return [said, compared, *[(DASH, None)] * len(_NUMBERS), verdict]
    ours, theirs = zip(*trial.pairs.values(), strict=True)
    return [
        said,
        compared,
        *((_side(side, metric.decimals), fmean(side)) for side in (ours, theirs)),
        (written(trial.difference, metric.decimals), trial.difference),
        (str(len(ours)), len(ours)),
        (probability(trial.p_value), trial.p_value),
        (probability(trial.corrected), trial.corrected),
        verdict,
    ]


def _side(values: Sequence[float], decimals: int) -> str:
    """Mean and standard deviation over seeds."""
    spread = stdev(values) if len(values) > 1 else None
    return written_with_spread(fmean(values), spread, decimals)


def _csv(tested: Sequence[Trial]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    for trial in tested:
        claim = trial.claim
        said = (
            claim.sentence,
            claim.source,
            claim.dataset,
            claim.better,
            claim.than,
            claim.metric,
        )
        writer.writerow([*said, len(trial.pairs), *_numbers(trial), trial.verdict, trial.why])
    return text.getvalue()


def _numbers(trial: Trial) -> Sequence[float | None]:
    """Means, their difference and the p-values; empty where nothing was tested."""
    if not trial.pairs:
        return (None,) * 7
    means = [fmean(side) for side in zip(*trial.pairs.values(), strict=True)]
    p_values = (trial.p_value, trial.corrected, trial.reverse, trial.reverse_corrected)
    return (*means, trial.difference, *p_values)
