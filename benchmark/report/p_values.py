"""p-values: corrected for how many there are, and written in tables, where none is bold."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from benchmark.report.numbers import written
from benchmark.report.summary import Entry


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The least rate of false discoveries at which each hypothesis would be rejected.

    If no two models differ in anything, the probability of any rejection at 5 % is at most 5 %,
    for independent and for positively dependent p-values.

    Args:
        p_values: of m hypotheses, in any order.

    Returns:
        m numbers, in the same order, none below its p-value.

    Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate", Journal of the
    Royal Statistical Society B 57(1), section 3.1.
    """
    adjusted = [0.0] * len(p_values)
    least = 1.0
    descending = sorted(range(len(p_values)), key=lambda index: -p_values[index])
    for passed, index in enumerate(descending):
        rank = len(p_values) - passed
        least = min(least, p_values[index] * len(p_values) / rank)
        adjusted[index] = least
    return adjusted


def in_words(entry: Entry, decimals: int) -> Entry:
    """The median over seeds with the lowest and highest; the one value of a single seed."""
    if not entry.values:
        return entry
    middle = median(entry.values)
    words = probability(middle, decimals)
    if len(entry.values) > 1:
        ends = (probability(end(entry.values), decimals) for end in (min, max))
        words = f"{words} ({'–'.join(ends)})"
    return replace(entry, mean=middle, spread=None, words=words)


def probability(value: float, decimals: int = 3) -> str:
    """As other values are; below the last decimal as `<0.001`, for no p-value is 0."""
    smallest = 10**-decimals
    return f"<{smallest:.{decimals}f}" if value < smallest / 2 else written(value, decimals)
