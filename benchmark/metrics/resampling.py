"""Standard errors of sample metrics, from recomputing them on random halves of the samples.

Let a set hold n examples and a half hold m of them, drawn without replacement. For a mean, the
variance over halves is s² / m · (n - m) / n; with m = n / 2 this is s² / n, the squared standard
error of the mean of the *whole* set. So the spread over halves needs no rescaling: this is the
delete-d jackknife at d = n / 2, whose factor (n - d) / d is one. It is consistent for any
statistic that is linear to first order, and also for many that are not smooth (quantiles, nearest
neighbours), where deleting one example at a time fails. Examples are never repeated, as a
bootstrap's are: repeats are what spoils nearest-neighbour and pairwise statistics.

So few draws know the error roughly, and an interval of it is Student's, not the normal one:
2.05 standard errors for 30 draws, not 1.96.

Two models measured under one seed and at one sample count draw the same halves of the real data,
so that the values on them pair: what the choice of real examples does to both cancels in their
differences.

Where the first-order term vanishes (an MMD between equal distributions) the spread over halves is
too large, by √3 for a second-order statistic: the error bar is then cautious.

Source: Shao and Wu 1989, "A general theory for jackknife variance estimation", Annals of
Statistics 17(3), eq. 2.4 and theorem 1.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.special import ndtri, stdtrit
from torch import Tensor

REPEATS = 30  # the relative error of an error bar is then 1 / sqrt(2 · 29) = 13 %
UPPER = 0.975  # what a two-sided interval of 95 % leaves below its upper end


@dataclass(frozen=True)
class HalfSamples:
    """A statistic on random shares of the examples.

    Args:
        values: one for each draw.
        share: of the examples in a draw, at most a half.
    """

    values: tuple[float, ...]
    share: float

    @property
    def standard_error(self) -> float:
        """Of the statistic on the whole sets, in its unit."""
        return error_from_subsets(self.values, self.share)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of its square: it is the sample variance of so many draws."""
        return len(self.values) - 1


def half_samples(
    statistic: Callable[..., float],
    *,
    generator: torch.Generator,
    repeats: int = REPEATS,
    most: int | None = None,
    **sets: Tensor,
) -> HalfSamples:
    """A statistic of one or more independent sets on random halves of them.

    Args:
        statistic: takes the sets by their names, as `statistic(real=..., generated=...)`.
        generator: draws the halves, on the CPU.
        repeats: how many times the statistic is computed.
        most: examples of a subset at most, to bound the time; a share f < 1/2 of the examples
            gives a spread too large by sqrt((1 - f) / f), which is divided out.
        sets: [n, ...] examples by name, n >= 4.
    """
    sizes = {name: len(examples) for name, examples in sets.items()}
    share = subset_share(sizes, most)
    values = tuple(
        statistic(**{name: sets[name][rows.to(sets[name].device)] for name, rows in half.items()})
        for half in draw_subsets(sizes, share=share, generator=generator, repeats=repeats)
    )
    return HalfSamples(values, share)


def subset_share(sizes: Mapping[str, int], most: int | None = None) -> float:
    """A half, or less where half of the largest set is more than `most`."""
    return 0.5 if most is None else min(0.5, most / max(sizes.values()))


def draw_subsets(
    sizes: Mapping[str, int], *, share: float, generator: torch.Generator, repeats: int
) -> Iterator[dict[str, Tensor]]:
    """Yields, `repeats` times, the row numbers of a random share of each set."""
    few = {name: size for name, size in sizes.items() if int(share * size) < 2}
    if few:
        raise ValueError(f"an error bar needs at least 4 examples, got {few}")
    for _ in range(repeats):
        yield {
            name: torch.randperm(size, generator=generator)[: int(share * size)]
            for name, size in sizes.items()
        }


def interval_reach(freedom: float) -> float:
    """Standard errors to each side of a 95 % interval, when the error is itself estimated.

    Source: "Student" 1908, "The probable error of a mean", Biometrika 6(1).
    """
    return float(stdtrit(freedom, UPPER) if freedom < math.inf else ndtri(UPPER))


def error_from_subsets(values: Sequence[float], share: float) -> float:
    """Standard error of the whole from the values on subsets of that share of the examples."""
    spread = torch.tensor(values, dtype=torch.float64).std().item()
    return spread * math.sqrt(share / (1 - share))
