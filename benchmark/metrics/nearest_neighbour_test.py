"""Leave-one-out nearest-neighbour test: of which set is each example's nearest neighbour?

Real and generated examples are pooled, and each is classified as its nearest neighbour among all
others. Were the two distributions one, half of either set would be told rightly; below a half,
examples lie nearer to the other set than to their own. Collapse shows as real examples that are
told (they have few samples near) beside samples that are told (they have each other).

Source: Xu et al. 2018, "An empirical study on evaluation metrics of generative adversarial
networks", arXiv:1806.07755, on the 1-nearest-neighbour classifier.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors, float64_device
from benchmark.metrics.neighbour_errors import variance_of_right_answers
from benchmark.metrics.shares import wilson_interval
from benchmark.randomness import generator

PERMUTATIONS = 999
PERMUTATIONS_AT_ONCE = 100
ROWS_AT_ONCE = 1_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers on n examples, and its error as an estimate for infinitely many."""

    value: float
    standard_error: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, for as many independent answers as would have this error."""
        if self.standard_error == 0:
            return wilson_interval(self.value, self.n)
        independent = self.value * (1 - self.value) / self.standard_error**2
        return wilson_interval(self.value, max(round(independent), 1))


@dataclass(frozen=True)
class NearestNeighbourTest:
    """The set of every example, and that of its nearest neighbour in the pool.

    Args:
        labels: [n] True for generated examples, in the pool's order.
        nearest: [n] number of the nearest other example of the pool.
    """

    labels: Tensor
    nearest: Tensor

    @property
    def accuracy(self) -> float:
        """Share of all examples whose nearest neighbour is of their own set."""
        return self._told.double().mean().item()

    @property
    def on_real(self) -> "Accuracy":
        """Accuracy on real examples."""
        return self._accuracy_on(~self.labels)

    @property
    def on_generated(self) -> "Accuracy":
        """Accuracy on generated examples."""
        return self._accuracy_on(self.labels)

    @property
    def _told(self) -> Tensor:
        return self.labels == self.labels[self.nearest]

    def _accuracy_on(self, chosen: Tensor) -> "Accuracy":
        told = self._told[chosen].double()
        value, n = told.mean().item(), len(told)
        variance = variance_of_right_answers(chosen, self.nearest) / n**2
        return Accuracy(value, math.sqrt(max(variance, 0.0)), n)

    def p_value(self, drawn: torch.Generator, permutations: int = PERMUTATIONS) -> float:
        """Chance of an accuracy as far from the expected one if the two distributions were one.

        The neighbours stay and the labels are permuted: right answers of neighbouring examples
        depend on each other, which a binomial would not know. The rank of the observed deviation
        among those of the permutations is uniform, ties being ranked at random. Two-sided: too
        few right answers are as telling, of samples that copy the real examples.

        Args:
            drawn: draws permutations and ranks of ties, on the CPU.
            permutations: how many (b).

        Returns:
            A multiple of 1 / (b + 1), at least that.

        Source: Henze 1988, "A multivariate two-sample test based on the number of nearest
        neighbor type coincidences", Annals of Statistics 16(2), section 2; Phipson and Smyth 2010,
        "Permutation p-values should never be zero".
        """
        n, m = len(self.labels), int(self.labels.sum())
        # n (n - 1) times the deviation, in whole numbers: equal deviations tie exactly.
        expected = n * (m * (m - 1) + (n - m) * (n - m - 1))
        counts = torch.cat(list(_permuted_counts(self.labels, self.nearest, permutations, drawn)))
        deviations = (n * (n - 1) * counts - expected).abs()
        observed = abs(n * (n - 1) * int(self._told.sum()) - expected)
        larger, equal = int((deviations > observed).sum()), int((deviations == observed).sum())
        above = larger + int(torch.randint(equal + 1, (), generator=drawn))
        return (1 + above) / (1 + permutations)


def on_real(evidence: Evidence) -> Measurement:
    """Accuracy on real examples: 1/2 for the true distribution."""
    found = _shared_test(evidence)
    return _measured(found.on_real, found)


def on_generated(evidence: Evidence) -> Measurement:
    """Accuracy on generated examples: 1/2 for the true distribution."""
    found = _shared_test(evidence)
    return _measured(found.on_generated, found)


def p_value(evidence: Evidence) -> Measurement:
    """Chance of an accuracy so far from expectation if the two distributions were one."""
    found = _shared_test(evidence)
    value = found.p_value(generator("nn_p", evidence.seed))
    return Measurement(value, n=len(found.labels), details={"accuracy": found.accuracy})


def nearest_neighbour_test(
    *,
    real: Tensor,
    generated: Tensor,
    drawn: torch.Generator,
    progress: Progress = lambda stage, step, total: None,
) -> NearestNeighbourTest:
    """Finds every example's nearest neighbour in the pool of both sets.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.
        drawn: draws the order of the pool, on the CPU: of equally near neighbours the first in
            that order is taken, whatever set it is of.
        progress: told of the pairs of blocks done.
    """
    check_vectors(real=real, generated=generated)
    order = torch.randperm(len(real) + len(generated), generator=drawn)
    pool = torch.cat([real, generated.to(real)])[order.to(real.device)]
    return NearestNeighbourTest(order >= len(real), nearest_others(pool, progress).cpu())


def nearest_others(points: Tensor, progress: Progress = lambda stage, step, total: None) -> Tensor:
    """[n] number of the nearest other point of each of [n, d], the first of equally near ones.

    Takes every pair of blocks once, in float64, so that memory stays that of a few blocks.
    """
    centre = points.mean(dim=0).double()  # inner products lose digits far from the origin
    least = points.new_full((len(points),), torch.inf, dtype=torch.float64)
    nearest = torch.zeros(len(points), dtype=torch.long, device=points.device)
    pairs = _pairs_of_blocks(len(points))
    for done, (rows, columns) in enumerate(pairs):
        progress("nearest neighbours", done, len(pairs))
        squares = _squared_distances(points[rows] - centre, points[columns] - centre)
        if rows == columns:
            squares.fill_diagonal_(torch.inf)
        else:
            _keep_nearer(least[columns], nearest[columns], squares.min(dim=0), rows.start)
        _keep_nearer(least[rows], nearest[rows], squares.min(dim=1), columns.start)
    return nearest


def _pairs_of_blocks(size: int) -> list[tuple[slice, slice]]:
    """Blocks of rows, each with itself and with those after it, in the order of the rows."""
    blocks = [slice(start, start + ROWS_AT_ONCE) for start in range(0, size, ROWS_AT_ONCE)]
    return list(combinations_with_replacement(blocks, 2))


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return squares.addmm_(x, y.T, alpha=-2)


def _keep_nearer(
    least: Tensor, nearest: Tensor, found: "torch.return_types.min", start: int
) -> None:
    """Writes what was found into both [n], views of their whole, where it is nearer."""
    nearer = found.values < least
    least[nearer] = found.values[nearer]
    nearest[nearer] = found.indices[nearer] + start


def _permuted_counts(
    labels: Tensor, nearest: Tensor, permutations: int, drawn: torch.Generator
) -> Iterator[Tensor]:
    """Numbers of examples with their neighbour's label, under permutations of the labels."""
    for start in range(0, permutations, PERMUTATIONS_AT_ONCE):
        rows = range(start, min(start + PERMUTATIONS_AT_ONCE, permutations))
        permuted = torch.stack(
            [labels[torch.randperm(len(labels), generator=drawn)] for _ in rows]
        )
        yield (permuted == permuted[:, nearest]).sum(dim=1)


def _shared_test(evidence: Evidence) -> NearestNeighbourTest:
    if "nearest-neighbour test" not in evidence.shared:
        device = float64_device(evidence)
        real, generated = (vectors.to(device) for vectors in compared_vectors(evidence))
        evidence.shared["nearest-neighbour test"] = nearest_neighbour_test(
            real=real,
            generated=generated,
            drawn=generator("nearest neighbours", evidence.seed),
            progress=evidence.progress,
        )
    found: NearestNeighbourTest = evidence.shared["nearest-neighbour test"]
    return found


def _measured(found: Accuracy, test: NearestNeighbourTest) -> Measurement:
    low, high = found.interval
    return Measurement(
        found.value,
        n=found.n,
        standard_error=found.standard_error,
        low=low,
        high=high,
        details={"accuracy": test.accuracy},
    )
