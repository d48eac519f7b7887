"""How a table shows p-values: not as a mean, which has no meaning, and never bold."""

from dataclasses import replace
from statistics import median

from benchmark.report.numbers import written
from benchmark.report.summary import Entry


def in_words(entry: Entry, decimals: int) -> Entry:
    """The median over seeds with the lowest and highest; the one value of a single seed."""
    if not entry.values:
        return entry
    middle = median(entry.values)
    words = _written(middle, decimals)
    if len(entry.values) > 1:
        ends = (_written(end(entry.values), decimals) for end in (min, max))
        words = f"{words} ({'–'.join(ends)})"
    return replace(entry, mean=middle, spread=None, words=words)


def _written(value: float, decimals: int) -> str:
    """As other values are; below the last decimal as `<0.001`, for no p-value is 0."""
    smallest = 10**-decimals
    return f"<{smallest:.{decimals}f}" if value < smallest / 2 else written(value, decimals)
