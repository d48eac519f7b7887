"""What papers claim of one model over another, tested over seeds that both were trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal, Protocol

import numpy as np

from benchmark.metrics import METRICS
from benchmark.metrics.base import Metric
from benchmark.report.agreement import measured
from benchmark.report.contents import current, diverged_at, models_of, one_line, reason_of
from benchmark.report.numbers import written
from benchmark.report.p_values import benjamini_hochberg, probability
from benchmark.store import Cell

LEVEL = 0.05  # of a verdict
_ROUNDING = 1e-9  # of the sum of sizes: sums that differ by less are equal
Verdict = Literal["holds", "contradicted", "undecided", "not tested"]
Pairs = Mapping[int, tuple[float, float]]


class Claim(Protocol):
    """That one model is better than another in one metric on one data set.

    `sentence` says it in words, `source` names the paper.
    """

    @property
    def sentence(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def better(self) -> str: ...
    @property
    def than(self) -> str: ...
    @property
    def metric(self) -> str: ...


@dataclass(frozen=True)
class Trial:
    """A claim and what became of it.

    Args:
        pairs: {seed: (value of the model said to be better, value of the other)}.
        absent: why seeds have no pair, each reason once.
        diverged: {seed without a pair: who won it}: 1 where only the training of the other model
            diverged, -1 where only that of the one said to be better did, 0 where both did.
        p_value: of a lead as large as this one, if neither model were better.
        reverse: the same of the other model's lead.
        corrected, reverse_corrected: where all claims of the page were tested.
        claims: how many those are.
    """

    claim: Claim
    metric: Metric
    pairs: Pairs
    absent: tuple[str, ...]
    diverged: Mapping[int, int] = field(default_factory=dict)
    p_value: float = 1.0
    reverse: float = 1.0
    corrected: float = 1.0
    reverse_corrected: float = 1.0
    claims: int = 1

    @property
    def leads(self) -> list[float]:
        """Of each seed, in the metric's unit: positive where the claim is right.

        Training that diverged without leaving a value lost by as much as any seed was won or lost.
        """
        sign = -1 if self.metric.better == "lower" else 1
        measured = [sign * (ours - theirs) for ours, theirs in self.pairs.values()]
        largest = max(map(abs, measured), default=0.0) or 1.0
        return measured + [won * largest for won in self.diverged.values()]

    @property
    def difference(self) -> float | None:
        """The mean of `better` less that of `than`, in the metric's unit, over the pairs."""
        differences = [ours - theirs for ours, theirs in self.pairs.values()]
        return fmean(differences) if differences else None

    @property
    def verdict(self) -> Verdict:
        if not self.leads:
            return "not tested"
        if self.corrected <= LEVEL:
            return "holds"
        return "contradicted" if self.reverse_corrected <= LEVEL else "undecided"

    @property
    def why(self) -> str:
        """What a verdict other than "holds" rests on."""
        if self.verdict == "not tested":
            return "; ".join(self.absent)
        if self.verdict == "contradicted":
            return f"p = {probability(self.reverse_corrected)} the other way"
        return "" if self.verdict == "holds" else self._why_undecided()

    def _why_undecided(self) -> str:
        differing = [lead for lead in self.leads if lead]
        if not differing:
            return self._why_equal()
        least = 0.5 ** len(differing)
        if least > LEVEL:
            which = "they differ in" if len(differing) < len(self.leads) else "there are"
            seeds = "1 seed" if len(differing) == 1 else f"{len(differing)} seeds"
            return f"{which} {seeds}, of which no p below {probability(least)} can come"
        if min(self.p_value, self.reverse) <= LEVEL:
            return f"p is small by itself, not among {self.claims} claims"
        ahead = sum(lead > 0 for lead in differing)
        behind = len(differing) - ahead
        return f"ahead in {ahead} of {len(self.leads)} seeds, behind in {behind}"

    def _why_equal(self) -> str:
        values = sorted({ours for ours, _ in self.pairs.values()})
        if not values:
            return "both diverged in every seed"
        if self.diverged or len(values) > 1:
            return "both have the same value in every seed"
        return f"both have {written(values[0], self.metric.decimals)} in every seed"


def trials(cells: Sequence[Cell], claims: Sequence[Claim]) -> list[Trial]:
    """Every claim, tested; p-values corrected for how many of them there are.

    The null hypothesis is that in each seed the two models might as well have changed places. The
    p-values of the claims are corrected among themselves, and so are those of their opposites: of
    the claims that are said to hold, at most one in twenty is wrong on average, and of those that
    are said to be contradicted.
    """
    found = [_trial(cells, claim) for claim in claims]
    tested = [trial for trial in found if trial.leads]
    corrected = benjamini_hochberg([trial.p_value for trial in tested])
    opposite = benjamini_hochberg([trial.reverse for trial in tested])
    adjusted = iter(zip(corrected, opposite, strict=True))
    return [_adjusted(t, *next(adjusted), len(tested)) if t.leads else t for t in found]


def sign_flip_p(leads: Sequence[float]) -> float:
    """Exact p-value of a mean as large as this one, were every sign as likely as its opposite.

    One-sided: small where the mean is above zero. All 2^s ways to set the signs are counted, by
    their sums over the first and over the second half of the seeds.

    Args:
        leads: s differences of pairs; zeros tell nothing either way.

    Returns:
        Between 2^-s and 1.

    Source: Fisher 1935, "The Design of Experiments", section 21; Pitman 1937, "Significance tests
    which may be applied to samples from any populations", Supplement to the Journal of the Royal
    Statistical Society 4(1).
    """
    middle = len(leads) // 2
    first, second = _signed_sums(leads[:middle]), np.sort(_signed_sums(leads[middle:]))
    least = sum(leads) - _ROUNDING * sum(map(abs, leads))
    below = np.searchsorted(second, least - first, side="left")
    return float((len(second) - below).sum()) / 2 ** len(leads)


def _adjusted(trial: Trial, corrected: float, reverse: float, claims: int) -> Trial:
    return replace(trial, corrected=corrected, reverse_corrected=reverse, claims=claims)


def _signed_sums(numbers: Sequence[float]) -> np.ndarray:
    """[2^n] sums, one for each choice of signs."""
    sums = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums + number, sums - number])
    return sums


def _trial(cells: Sequence[Cell], claim: Claim) -> Trial:
    metric = next(metric for metric in METRICS if metric.name == claim.metric)
    by_model = models_of([c for c in cells if c.identity.dataset == claim.dataset], ())
    first, second = (by_model.get(name, {}) for name in (claim.better, claim.than))
    ours, our_reasons = _values(metric, claim.better, first)
    theirs, their_reasons = _values(metric, claim.than, second)
    shared = sorted(ours.keys() & theirs.keys())
    reasons = dict.fromkeys([*our_reasons, *their_reasons])
    if not shared and not reasons:
        reasons = {f"{claim.better} and {claim.than} have no seed in common": None}
    pairs = {seed: (ours[seed], theirs[seed]) for seed in shared}
    our_lost, their_lost = _lost(first, ours), _lost(second, theirs)
    diverged = {
        seed: int(seed in their_lost) - int(seed in our_lost)
        for seed in sorted(our_lost | their_lost)
        if seed in our_lost | ours.keys() and seed in their_lost | theirs.keys()
    }
    trial = Trial(claim, metric, pairs, (*reasons,), diverged)
    if not trial.leads:
        return trial
    opposite = [-lead for lead in trial.leads]
    return replace(trial, p_value=sign_flip_p(trial.leads), reverse=sign_flip_p(opposite))


def _lost(cells: Mapping[int, Cell], values: Mapping[int, float]) -> set[int]:
    """The seeds whose training diverged and left no value."""
    return {seed for seed in cells.keys() - values.keys() if diverged_at(cells[seed]) is not None}


def _values(
    metric: Metric, model: str, cells: Mapping[int, Cell]
) -> tuple[dict[int, float], list[str]]:
    """{seed: value}, and why seeds have none."""
    if not cells:
        return {}, [f"{model}: not run"]
    values, reasons = {}, []
    for seed, cell in cells.items():
        result = measured(cell, metric)
        if result is not None and result.value is not None:
            values[seed] = result.value
        else:
            reasons.append(f"{model}: {_why_not(cell, metric)}")
    return values, reasons


def _why_not(cell: Cell, metric: Metric) -> str:
    if cell.failure:
        return f"failed: {one_line(cell.failure)}"
    results = current(cell, metric)
    return reason_of(results[0]) if results else "not measured yet"
