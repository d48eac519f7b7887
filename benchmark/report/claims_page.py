"""The page "Do the methods recover modes?": what papers claim, tested over seeds."""

import csv
import io
from collections.abc import Sequence
from statistics import fmean, stdev

from benchmark.report.article import Article, Chapter, Listing, Written
from benchmark.report.claims import LEVEL, Claim, Trial, trials
from benchmark.report.claims_coverage import (
    BESIDE,
    Means,
    coverage_sentences,
    means_of,
    written_mean,
)
from benchmark.report.contents import datasets_of, models_of
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
        "below 1 in 2 to the power of the number of seeds in which they differ: 0.250 in 2 seeds, "
        "0.031 in 5, 0.001 in 10, however large the lead.",
    ),
    (
        "Corrected:",
        "for the number of claims on this page (Benjamini-Hochberg), and so are the p-values of "
        f"their opposites. A verdict needs a corrected p of at most {LEVEL:g}: a claim that is "
        f"alone among m to stand out needs a p of {LEVEL:g} / m, and so the more seeds, the more "
        "claims there are.",
    ),
    ("Holds:", "the model that is said to be better is better."),
    ("Contradicted:", "it is worse."),
    (
        "Undecided:",
        "neither is shown, for the reason that is given. Where both models have every mode in "
        "every seed there is nothing to recover.",
    ),
    (
        "High quality and KL over modes",
        "stand beside, first / second: a model that spreads its samples everywhere has every "
        "mode, of low quality, and one that has every mode may give most samples to a few.",
    ),
    (
        "Source:",
        'where it begins with "after", the paper says so of other data or other models, and the '
        "test here goes beyond it.",
    ),
    (
        "Diverged training",
        "counts as no mode captured. In a metric that has no value then, the other model wins "
        "the seed by as much as any seed was won or lost; where both diverged, neither is ahead. "
        "Seeds that have no value for another reason are left out.",
    ),
)
_NUMBERS = ("First", "Second", "Difference", "High quality", "KL", "Seeds", "p", "Corrected")
_CSV_HEAD = (
    *("claim", "source", "dataset", "better", "than", "metric", "seeds", "diverged"),
    *("better_mean", "than_mean", "difference", "p", "corrected", "reverse_p"),
    *("reverse_corrected", *(f"{side}_{name}" for name in BESIDE for side in ("better", "than"))),
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
    can_be_tested = any(trial.leads for trial in tested)
    return Article("claims", TITLE, RULES, chapters) if can_be_tested else None


def _chapter(
    dataset: str, cells: Sequence[Cell], models: Sequence[str], tested: Sequence[Trial]
) -> Chapter:
    means = means_of(cells)
    rows = [_row(trial, means) for trial in tested]
    title = f"Claims about {dataset}"
    head = ("Claim", "Verdict", "Compared", *_NUMBERS)
    listing = Listing(
        f"claims_{dataset}", title, head, [("", rows)], _csv(tested, means), wordy=True
    )
    sentences = [
        _counted(tested),
        *coverage_sentences(cells, models, means),
        *_diverged(cells, models),
    ]
    return Chapter(dataset, sentences, listings=[listing])


def _counted(tested: Sequence[Trial]) -> str:
    verdicts = [trial.verdict for trial in tested]
    counts = [f"{verdict}: {verdicts.count(verdict)}" for verdict in dict.fromkeys(verdicts)]
    return f"Of {len(tested)} claims: {', '.join(counts)}."


def _diverged(cells: Sequence[Cell], models: Sequence[str]) -> list[str]:
    seeds = {
        model: (sum("diverged" in cell.training for cell in its.values()), len(its))
        for model, its in models_of(cells, models).items()
    }
    names = [f"{model} ({some} of {of} seeds)" for model, (some, of) in seeds.items() if some]
    return [f"Training diverged: {listed(names)}."] if names else []


def _row(trial: Trial, means: Means) -> list[Written]:
    claim, metric = trial.claim, trial.metric
    said = (f"{claim.sentence} ({claim.source})", claim.sentence)
    compared = (f"{metric.label} of {claim.better} and {claim.than}", claim.better)
    verdict = (f"{trial.verdict}: {trial.why}" if trial.why else trial.verdict, trial.verdict)
    if not trial.leads:
        return [said, verdict, compared, *[(DASH, None)] * len(_NUMBERS)]
    return [
        said,
        verdict,
        compared,
        *_values(trial),
        *(_beside(name, claim, means) for name in BESIDE),
        _seeds(trial),
        (probability(trial.p_value), trial.p_value),
        (probability(trial.corrected), trial.corrected),
    ]


def _values(trial: Trial) -> list[Written]:
    """Both sides and their difference."""
    if trial.difference is None:
        return [(DASH, None)] * 3
    decimals = trial.metric.decimals
    sides = zip(*trial.pairs.values(), strict=True)
    difference = (written(trial.difference, decimals), trial.difference)
    return [*((_side(side, decimals), fmean(side)) for side in sides), difference]


def _side(values: Sequence[float], decimals: int) -> str:
    """Mean and standard deviation over seeds."""
    spread = stdev(values) if len(values) > 1 else None
    return written_with_spread(fmean(values), spread, decimals)


def _beside(name: str, claim: Claim, means: Means) -> Written:
    """What both models have in another metric; sorts by the first's."""
    ours, theirs = means[name].get(claim.better), means[name].get(claim.than)
    return f"{written_mean(name, ours)} / {written_mean(name, theirs)}", ours


def _seeds(trial: Trial) -> Written:
    ended = f" ({len(trial.diverged)} diverged)" if trial.diverged else ""
    return f"{len(trial.leads)}{ended}", len(trial.leads)


def _csv(tested: Sequence[Trial], means: Means) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    for trial in tested:
        claim = trial.claim
        models = (claim.better, claim.than)
        said = (claim.sentence, claim.source, claim.dataset, *models, claim.metric)
        beside = [means[name].get(model) for name in BESIDE for model in models]
        seeds = (len(trial.leads), len(trial.diverged))
        numbers = (*_numbers(trial), *beside)
        writer.writerow([*said, *seeds, *numbers, trial.verdict, trial.why])
    return text.getvalue()


def _numbers(trial: Trial) -> Sequence[float | None]:
    """Means, their difference and the p-values; empty where nothing was tested."""
    if not trial.leads:
        return (None,) * 7
    sides = [fmean(side) for side in zip(*trial.pairs.values(), strict=True)]
    p_values = (trial.p_value, trial.corrected, trial.reverse, trial.reverse_corrected)
    return (*(sides or (None, None)), trial.difference, *p_values)
