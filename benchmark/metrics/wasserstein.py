"""Exact 2-Wasserstein distance between two sets of examples, by optimal transport."""

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.randomness import generator

MOST = 1_000  # examples of each set: the time grows with the cube
FIRST_ITERATIONS = 1_000_000
LAST_ITERATIONS = 1_000_000_000
ROUNDING = 1e-12  # of the largest cost: potentials leave that much of ties, slow to break


def measure(evidence: Evidence) -> Measurement:
    """The distance between the first 1,000 (or all) points, or features of images."""
    from scipy.optimize import linear_sum_assignment

    real, generated = compared_vectors(evidence)
    n = min(len(real), len(generated), MOST)
    costs = _costs(real[:n], generated[:n])
    # Less the potentials of the whole sets the best pairs are the same, and found sooner.
    _, log = _transport(costs)
    reduced = costs - log["u"][:, None] - log["v"]
    reduced[reduced < ROUNDING * costs.max()] = 0.0

    def distance(*, real: Tensor, generated: Tensor) -> float:
        chosen = np.ix_(real.numpy(), generated.numpy())
        pairs = linear_sum_assignment(reduced[chosen])
        return float(costs[chosen][pairs].mean()) ** 0.5

    return Measurement.of_statistic(
        distance,
        drawn=generator("wasserstein", evidence.seed),
        n=n,
        lowest=0.0,
        real=torch.arange(n),
        generated=torch.arange(n),
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
    costs = _costs(real, generated)
    mean_cost = _assignment_cost(costs) if len(real) == len(generated) else _transport_cost(costs)
    return max(mean_cost, 0.0) ** 0.5


def _costs(real: Tensor, generated: Tensor) -> np.ndarray:
    """[n, m] squared distances."""
    from scipy.spatial.distance import cdist

    check_vectors(real=real, generated=generated)
    x, y = (vectors.double().cpu().numpy() for vectors in (real, generated))
    return cdist(x, y, "sqeuclidean")


def _assignment_cost(costs: np.ndarray) -> float:
    """Least mean cost of pairing rows with columns, for a square matrix."""
    from scipy.optimize import linear_sum_assignment

    return float(costs[linear_sum_assignment(costs)].mean())


def _transport_cost(costs: np.ndarray) -> float:
    """Least mean cost of moving equal weights on the rows to equal weights on the columns."""
    return _transport(costs)[0]


def _transport(costs: np.ndarray) -> tuple[float, Mapping[str, np.ndarray]]:
    """The same with the potentials "u" of the rows and "v" of the columns.

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
            return float(cost), log
        iterations *= 10
    raise RuntimeError(f"optimal transport did not converge: {log['warning']}")
