"""Which of two likelihoods is better, as far as exact values, sandwiches and bounds can tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmark.report.intervals import NOTHING, Part, of_mean, reach
from benchmark.report.summary import Entry, summarise
from benchmark.store import Meaning, Result


@dataclass(frozen=True)
class Standing:
    """What is known of one model's mean negative log-likelihood, in nats for each example.

    Args:
        value, error: mean over seeds and its standard error, of training and of measuring.
        slack: how far below `value` the truth may lie besides that: 0 where it is exact, the
            BDMC gap with its error for a sandwich, infinite for a plain bound.
        examples: [seeds, n] values of single test examples, None where they are not stored.
        seeds: what training seeds put into the square of `error`, as far as that is known.
    """

    model: str
    meaning: Meaning
    value: float
    error: float
    slack: float
    examples: np.ndarray | None = None
    seeds: Part = NOTHING

    @property
    def is_open(self) -> bool:
        """Whether nothing is known of how far below the value the truth lies."""
        return math.isinf(self.slack)

    @property
    def measuring(self) -> float:
        """What test examples put into the square of `error`."""
        return max(0.0, self.error**2 - self.seeds[0])

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of the true mean."""
        half = reach(self.measuring, [self.seeds])
        return self.value - self.slack - half, self.value + half


@dataclass(frozen=True)
class Difference:
    """The first model's true mean less the second's: between `low` and `high`, at 95 %.

    Args:
        value: of the stored values.
        error: its standard error, over test examples and training seeds.
        reach: how far an interval of that error reaches to each side, without the slacks.
    """

    value: float
    error: float
    reach: float
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
    numbers = (entry.mean, entry.error, slack)
    return Standing(model, entry.meaning, *numbers, _stacked(results), _of_seeds(entry))


def difference(first: Standing, second: Standing) -> Difference:
    """Compares two models, on the test examples that both were measured on if they are stored."""
    value = first.value - second.value
    known, seeds = first.measuring + second.measuring, (first.seeds, second.seeds)
    if first.examples is not None and second.examples is not None:
        value, known, seeds = _paired(first.examples, second.examples)
    error, half = math.sqrt(known + sum(part for part, _ in seeds)), reach(known, seeds)
    low, high = value - first.slack - half, value + second.slack + half
    return Difference(value, error, half, low, high)


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
    if pair.value + pair.reach >= 0:
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
        return max(0.0, gap.mean + reach((gap.measuring or 0.0) ** 2, [_of_seeds(gap)]))
    return math.inf


def _of_seeds(entry: Entry) -> Part:
    if entry.measured < 2 or entry.spread is None:
        return NOTHING
    return entry.spread**2 / entry.measured, entry.measured - 1


def _stacked(results: Sequence[Result]) -> np.ndarray | None:
    """[seeds, n] values of the test examples that every seed was measured on."""
    arrays = [result.per_example for result in results if result.per_example is not None]
    if len(arrays) < len(results) or min(map(len, arrays)) < 2:
        return None
    shortest = min(map(len, arrays))
    return np.stack([array[:shortest].astype(np.float64) for array in arrays])


def _paired(first: np.ndarray, second: np.ndarray) -> tuple[float, float, tuple[Part, Part]]:
    """Mean difference over the examples both have, its variance over them and over seeds."""
    shared = min(first.shape[1], second.shape[1])
    first, second = first[:, :shared], second[:, :shared]
    differences = first.mean(axis=0) - second.mean(axis=0)
    seeds = (of_mean(first.mean(axis=1)), of_mean(second.mean(axis=1)))
    return float(differences.mean()), of_mean(differences)[0], seeds
