"""What an axis shows of values among which a few may have gone astray."""

from dataclasses import dataclass

import numpy as np

WIDE_RANGE = 50.0  # of largest over smallest value, beyond which an axis is logarithmic
FENCE = 3.0  # interquartile ranges beyond the quartiles: Tukey's outer fences
SPARED = 1.5  # ranges without outliers, up to which those have room too
ROOM = 0.05  # of what is shown, at each end


@dataclass(frozen=True)
class Span:
    """What an axis shows."""

    low: float
    high: float
    is_log: bool

    def misses(self, values: np.ndarray) -> np.ndarray:
        """Which values lie outside."""
        return (values < self.low) | (values > self.high)


def span(values: np.ndarray, middles: np.ndarray) -> Span:
    """From the least to the largest value that is no outlier, and every middle.

    An outlier lies FENCE interquartile ranges beyond the quartiles (Tukey 1977), of logarithms
    where the axis is logarithmic: one seed that went astray would leave the others no room. Where
    all values take at most SPARED times as much room as those, all are shown.

    Args:
        values: [n] of all cells.
        middles: [m] of all models.
    """
    is_log = bool(values.min() > 0 and values.max() > WIDE_RANGE * values.min())
    seen, kept = (np.log(each) if is_log else each for each in (values, middles))
    first, third = np.quantile(seen, (0.25, 0.75))
    fences = first - FENCE * (third - first), third + FENCE * (third - first)
    kept = np.concatenate([kept, seen[(seen >= fences[0]) & (seen <= fences[1])]])
    if np.ptp(seen) <= SPARED * np.ptp(kept):
        kept = np.concatenate([kept, seen])
    room = ROOM * np.ptp(kept) or 0.5
    ends = np.array([kept.min() - room, kept.max() + room])
    low, high = np.exp(ends) if is_log else ends
    return Span(float(low), float(high), is_log)
