"""Precision and recall of samples, by nearest-neighbour balls around examples."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.metrics.resampling import half_samples
from benchmark.randomness import generator

NEIGHBOURS = 3
LARGEST_HALF = 500  # examples; the time grows with the square
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class PrecisionRecall:
    """Two shares, from 0 to 1."""

    precision: float
    recall: float


def precision(evidence: Evidence) -> Measurement:
    """Share of generated examples that look real."""
    return _measure(evidence, "precision", lambda pair: pair.precision)


def recall(evidence: Evidence) -> Measurement:
    """Share of real examples that the model could have made."""
    return _measure(evidence, "recall", lambda pair: pair.recall)


def precision_recall(*, real: Tensor, generated: Tensor) -> PrecisionRecall:
    """Shares of each set that lie within the other's nearest-neighbour balls.

    Around every example of a set stands a ball that reaches to its third nearest neighbour in
    that set. Precision is the share of generated examples within any real one's ball, recall
    the share of real examples within any generated one's. Equal distributions do not give 1 in
    many dimensions (0.48 for normals in 1,000): compare with the row of real data.

    Args:
        real: [n, d] vectors of real data, n >= 4.
        generated: [m, d] vectors of generated data, m >= 4.

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, eqs. 1 and 2; by torch-fidelity >= 0.4.0
    (before that, the two were swapped).
    """
    from torch_fidelity.metric_prc import (
        KEY_METRIC_PRECISION,
        KEY_METRIC_RECALL,
        prc_features_to_metric,
    )

    check_vectors(at_least=NEIGHBOURS + 1, real=real, generated=generated)
    # Distances come from inner products, which lose digits far from the origin.
    centre = real.double().mean(dim=0)
    found = prc_features_to_metric(
        generated.double() - centre,
        real.double() - centre,
        prc_neighborhood=NEIGHBOURS,
        prc_batch_size=ROWS_AT_ONCE,
        save_cpu_ram=True,
        verbose=False,
    )
    return PrecisionRecall(found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL])


def _measure(
    evidence: Evidence, name: str, pick: Callable[[PrecisionRecall], float]
) -> Measurement:
    real, generated = compared_vectors(evidence)

    def share(*, real: Tensor, generated: Tensor) -> float:
        return pick(precision_recall(real=real, generated=generated))

    halves = half_samples(
        share,
        real=real,
        generated=generated,
        generator=generator(name, evidence.seed),
        most=LARGEST_HALF,
    )
    value = share(real=real, generated=generated)
    return Measurement.with_halves(value, halves, n=len(generated), lowest=0.0, highest=1.0)
