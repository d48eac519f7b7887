"""Exact 2-Wasserstein distance between two sets of examples, by optimal transport."""

import warnings

import numpy as np
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.randomness import generator

MOST = 1_000  # examples of each set: the time grows with the cube
FIRST_ITERATIONS = 1_000_000
LAST_ITERATIONS = 1_000_000_000


def measure(evidence: Evidence) -> Measurement:
    """The distance between the first 1,000 (or all) points, or features of images."""
    real, generated = compared_vectors(evidence)
    n = min(len(real), len(generated), MOST)
    real, generated = real[:n], generated[:n]
    return Measurement.of_statistic(
        wasserstein2,
        drawn=generator("wasserstein", evidence.seed),
        n=n,
        lowest=0.0,
        real=real,
        generated=generated,
    )


def wasserstein2(*, real: Tensor, generated: Tensor) -> float:
    """Square root of the least mean squared distance over all ways to couple the two sets.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.

    Returns:
        A length in the unit of the vectors, 0 only for equal sets. Biased upwards: for equal
        distributions it falls like n^(-1/d), so compare at equal n, with the row of real data.

    Source: Peyré and Cuturi 2019, arXiv:1803.00567, eq. 2.11 and proposition 2.1.
    """
    from scipy.spatial.distance import cdist

    check_vectors(real=real, generated=generated)
    x, y = (vectors.double().cpu().numpy() for vectors in (real, generated))
    costs = cdist(x, y, "sqeuclidean")
    mean_cost = _assignment_cost(costs) if len(real) == len(generated) else _transport_cost(costs)
    return max(mean_cost, 0.0) ** 0.5


def _assignment_cost(costs: np.ndarray) -> float:
    """Least mean cost of pairing rows with columns, for a square matrix."""
    from scipy.optimize import linear_sum_assignment

    return float(costs[linear_sum_assignment(costs)].mean())


def _transport_cost(costs: np.ndarray) -> float:
    """Least mean cost of moving equal weights on the rows to equal weights on the columns.

    Raises:
        RuntimeError: the solver did not converge within a thousand million iterations.
    """
    import ot

    rows, columns = (np.full(size, 1 / size) for size in costs.shape)
    iterations = FIRST_ITERATIONS
    while iterations <= LAST_ITERATIONS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the log says the same, and is looked at
            cost, log = ot.emd2(rows, columns, costs, numItermax=iterations, log=True)
        if log["warning"] is None:
            return float(cost)
        iterations *= 10
    raise RuntimeError(f"optimal transport did not converge: {log['warning']}")
