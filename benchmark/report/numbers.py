"""How numbers are written: as many decimals as mean something, thousands apart; and lists."""

import math
from collections.abc import Sequence

SIGNIFICANT = 5  # digits of a value that has fewer decimals than its metric asks for
HUGE = 1e7
MINUS = "−"


def written(value: float, decimals: int) -> str:
    """A number with `decimals` decimals, fewer for large ones: 1.25, 14,321, 3.1e+08."""
    places = decimals_for(value, decimals)
    if abs(value) >= HUGE:
        return f"{value:.1e}".replace("-", MINUS)
    rounded = round(value, places) + 0.0  # turns -0.0 into 0.0
    return f"{rounded:,.{places}f}".replace("-", MINUS)


def written_with_spread(value: float, spread: float | None, decimals: int) -> str:
    """`value ± spread`, both with the decimals of the value."""
    places = decimals_for(value, decimals)
    head = written(value, places)
    if spread is None or (spread == 0 and decimals == 0):  # a count that no seed moves
        return head
    return f"{head} ± {written(spread, places)}"


def rounded_up(value: float, decimals: int) -> str:
    """A number not below the value, which it bounds: 0.0031 with three decimals is 0.004."""
    unit = 10.0**decimals
    return f"{math.ceil(value * unit) / unit:,.{decimals}f}"


def decimals_for(value: float, decimals: int) -> int:
    if value == 0:
        return decimals
    return max(0, min(decimals, SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))))


def count(number: int) -> str:
    return f"{number:,}"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
