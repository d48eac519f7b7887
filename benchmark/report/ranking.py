"""Which of two likelihoods is better, as far as exact values, sandwiches and bounds can tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmark.report.summary import Entry, summarise
from benchmark.store import Meaning, Result

REACH = 1.96  # standard errors to each side of a 95 % interval


@dataclass(frozen=True)
class Standing:
    """What is known of one model's mean negative log-likelihood, in nats for each example.

    Args:
        value, error: mean over seeds and its standard error, of training and of measuring.
        slack: how far below `value` the truth may lie besides that: 0 where it is exact, the
            BDMC gap with its error for a sandwich, infinite for a plain bound.
        examples: [seeds, n] values of single test examples, None where they are not stored.
    """

    model: str
    meaning: Meaning
    value: float
    error: float
    slack: float
    examples: np.ndarray | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing is known of how far below the value the truth lies."""
        return math.isinf(self.slack)

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of the true mean."""
        reach = REACH * self.error
        return self.value - self.slack - reach, self.value + reach


@dataclass(frozen=True)
class Difference:
    """The first model's true mean less the second's: between `low` and `high`, at 95 %."""

    value: float
    error: float
    low: float
    high: float


def standing(
    model: str, answers: Mapping[int, Result | str], gaps: Mapping[int, Result | str]
) -> Standing | None:
    """What one row's results say.

    Args:
        model: the row's name.
        answers: {seed: its result of `nll`, or why there is none}.
        gaps: {seed: its result of `bdmc_gap`, or why there is none}.

    Returns:
        None where no seed has a value, or where the value bounds nothing.
    """
    entry = summarise(answers)
    if entry.mean is None or entry.meaning not in ("exact", "sandwich", "upper bound"):
        return None
    results = [result for result in answers.values() if isinstance(result, Result)]
    slack = _slack(entry.meaning, summarise(gaps))
    return Standing(model, entry.meaning, entry.mean, entry.error, slack, _stacked(results))


def difference(first: Standing, second: Standing) -> Difference:
    """Compares two models, on the test examples that both were measured on if they are stored."""
    value, error = first.value - second.value, math.hypot(first.error, second.error)
    if first.examples is not None and second.examples is not None:
        value, error = _paired(first.examples, second.examples)
    reach = REACH * error
    return Difference(value, error, value - first.slack - reach, value + second.slack + reach)


def rank_ranges(standings: Sequence[Standing]) -> dict[str, tuple[int, int]]:
    """{model: (best, worst)} places that no comparison with another model excludes."""
    ranges = {}
    for own in standings:
        found = [difference(own, other) for other in standings if other is not own]
        better = sum(pair.low > 0 for pair in found)
        worse = sum(pair.high < 0 for pair in found)
        ranges[own.model] = (1 + better, len(standings) - worse)
    return ranges


def leaders(standings: Sequence[Standing]) -> set[str]:
    """The models that none of the others is certainly better than; none if there is but one."""
    if len(standings) < 2:
        return set()
    return {model for model, (best, _) in rank_ranges(standings).items() if best == 1}


def undecided(standings: Sequence[Standing]) -> list[str]:
    """Why neighbours in the order of their values are not told apart, a sentence a reason."""
    pairs: dict[str, list[str]] = {}
    for ahead, behind in pairwise(sorted(standings, key=lambda each: each.value)):
        if (why := _why_undecided(ahead, behind)) is not None:
            pairs.setdefault(why, []).append(f"{ahead.model} and {behind.model}")
    return [f"{'; '.join(names)}: undecided, {why}." for why, names in pairs.items()]


def _why_undecided(ahead: Standing, behind: Standing) -> str | None:
    pair = difference(ahead, behind)
    if pair.high < 0 or pair.low > 0:
        return None
    if behind.is_open:
        return f"of {behind.model} only an upper bound is known"
    if pair.value + REACH * pair.error >= 0:
        return "the difference is within its error"
    if ahead.meaning == "exact":
        return f"the BDMC gap of {behind.model} reaches down to the exact value"
    if ahead.is_open:
        return f"the BDMC gap of {behind.model} reaches down to the bound"
    return "the intervals of the sandwiches overlap"


def _slack(meaning: Meaning, gap: Entry) -> float:
    if meaning == "exact":
        return 0.0
    if meaning == "sandwich" and gap.mean is not None:
        return max(0.0, gap.mean + REACH * gap.error)
    return math.inf


def _stacked(results: Sequence[Result]) -> np.ndarray | None:
    """[seeds, n] values of the test examples that every seed was measured on."""
    arrays = [result.per_example for result in results if result.per_example is not None]
    if len(arrays) < len(results) or min(map(len, arrays)) < 2:
        return None
    shortest = min(map(len, arrays))
    return np.stack([array[:shortest].astype(np.float64) for array in arrays])


def _paired(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Mean difference over the examples both have, and its error of examples and of seeds."""
    shared = min(first.shape[1], second.shape[1])
    first, second = first[:, :shared], second[:, :shared]
    differences = first.mean(axis=0) - second.mean(axis=0)
    variance = differences.var(ddof=1) / shared
    for seeds in (first.mean(axis=1), second.mean(axis=1)):
        variance += seeds.var(ddof=1) / len(seeds) if len(seeds) > 1 else 0.0
    return float(differences.mean()), math.sqrt(variance)
