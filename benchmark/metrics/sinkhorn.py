"""Sinkhorn divergence: entropic optimal transport, its bias taken out by the two self terms."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.inputs import check_vectors, compared_vectors, float64_device
from benchmark.metrics.resampling import half_samples
from benchmark.metrics.wasserstein import MOST
from benchmark.randomness import generator

REGULARISATION = 0.05  # epsilon, in units of the mean cost between two real examples
MOST_FOR_HALVES = 200  # examples of a subset that only the error bar needs
TOLERANCE = 1e-4  # mean violation of the marginals; the value errs by less than that of epsilon
TOLERANCE_OF_HALVES = 1e-3
MOST_ITERATIONS = 10_000
LEVELS_APART = 4.0  # of successive epsilons
CHECKED_EVERY = 20  # iterations; the first of them, plain, show how fast they converge
LARGEST_SCALING = 1e50


def measure(evidence: Evidence) -> Measurement:
    """The divergence between the first 1,000 (or all) points, or features of images."""
    device = float64_device(evidence)
    real, generated = (vectors.to(device) for vectors in compared_vectors(evidence))
    n = min(len(real), len(generated), MOST)
    real, generated = real[:n], generated[:n]
    epsilon = REGULARISATION * mean_cost(real)

    def roughly(*, real: Tensor, generated: Tensor) -> float:
        return sinkhorn_divergence(
            real=real, generated=generated, epsilon=epsilon, tolerance=TOLERANCE_OF_HALVES
        )

    halves = half_samples(
        roughly,
        real=real,
        generated=generated,
        generator=generator("sinkhorn", evidence.seed),
        most=MOST_FOR_HALVES,
    )
    value = sinkhorn_divergence(real=real, generated=generated, epsilon=epsilon)
    details = {"epsilon": epsilon}
    return Measurement.with_halves(value, halves, n=n, lowest=0.0, details=details)


def mean_cost(real: Tensor) -> float:
    """Mean squared distance between two different real examples, of [n, d].

    The generated data have no part in it: every model is measured with the same epsilon.
    """
    check_vectors(real=real)
    cost = 2 * real.double().var(dim=0).sum().item()
    if cost == 0:
        raise NotApplicable("all real examples coincide, so that no epsilon follows from them")
    return cost


def sinkhorn_divergence(
    *, real: Tensor, generated: Tensor, epsilon: float, tolerance: float = TOLERANCE
) -> float:
    """OT(real, generated) - OT(real, real) / 2 - OT(generated, generated) / 2.

    OT(a, b) is the least E|x - y|² + epsilon KL(plan | a ⊗ b) over the plans that couple a and
    b; the entropy term is part of it (POT's `empirical_sinkhorn_divergence` leaves it out), and
    the cost is not halved (geomloss's is, so that it gives half of this at 2 blur² = epsilon).

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.
        epsilon: positive, a squared distance.
        tolerance: mean violation of the plan's marginals, each of mean 1, at which it converged.

    Returns:
        A non-negative squared distance, 0 only for equal sets. It tends to the square of W₂ as
        epsilon falls to 0, and to the squared distance of the means as epsilon grows. Biased
        upwards at finite n, less than W₂: compare at equal n, with the row of real data.

    Raises:
        RuntimeError: an iteration did not converge; a larger epsilon does.

    Source: Feydy et al. 2019, arXiv:1810.08278, eqs. 1 and 3.
    """
    check_vectors(real=real, generated=generated)
    if not epsilon > 0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    centre = real.double().mean(dim=0)
    x, y = real.double() - centre, generated.double() - centre
    between = _transport(_costs(x, y), epsilon, tolerance)
    within = sum(_self_transport(_costs(z, z), epsilon, tolerance) for z in (x, y))
    return max(between - within / 2, 0.0)  # rounding can leave -1e-12 for equal sets


def _costs(x: Tensor, y: Tensor) -> Tensor:
    """[n, m] squared distances."""
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return squares.addmm_(x, y.T, alpha=-2).clamp_(min=0)


def _transport(costs: Tensor, epsilon: float, tolerance: float) -> float:
    """OT for equal weights on rows and on columns, as the value of its dual."""
    f, g = costs.new_zeros(costs.shape[0]), costs.new_zeros(costs.shape[1])
    for level in _levels(costs, epsilon):
        f = _soft_minimum(costs - g, level)
        g = _soft_minimum(costs.T - f, level)
    left = MOST_ITERATIONS
    while left > 0:
        kernel = _kernel(costs, f, g, epsilon)
        u, v, used, converged = _scalings(kernel, tolerance, left)
        f, g = f + epsilon * u.log(), g + epsilon * v.log()
        if converged:
            return (f.mean() + g.mean()).item()
        left -= used
    raise _not_converged(epsilon)


def _scalings(kernel: Tensor, tolerance: float, most: int) -> tuple[Tensor, Tensor, int, bool]:
    """Positive u [n] and v [m] for which every mean over a line of u kernel v is near 1.

    Both are over-relaxed by the best power for the speed that the first iterations show; the power
    goes half way back to 1 whenever the violation has not fallen since it was last looked at. The
    last v is the best one for u, so that the dual's value is a lower bound.

    Returns:
        u, v, the iterations used, and whether they converged; if not, they grew too large.

    Source: Lehmann et al. 2022, "A note on overrelaxation in the Sinkhorn algorithm",
    doi:10.1007/s11590-021-01830-0.
    """
    n, m = kernel.shape
    u, v = kernel.new_ones(n), kernel.new_ones(m)
    power, errors = 1.0, list[float]()
    for step in range(1, most + 1):
        rows = u * (kernel @ v) / m
        u = u * rows.pow(-power)
        columns = v * (kernel.T @ u) / n
        v = v * columns.pow(-power)
        errors.append(((rows - 1).abs().mean() + (columns - 1).abs().mean()).item())
        if errors[-1] < tolerance:
            return u, n / (kernel.T @ u), step, True
        if step % CHECKED_EVERY:
            continue
        if max(u.max().item(), v.max().item()) > LARGEST_SCALING:
            return u, v, step, False
        if step == CHECKED_EVERY:
            rate = min((errors[-1] / errors[-6]) ** 0.2, 1.0)
            power = 2 / (1 + math.sqrt(1 - rate))
        elif errors[-1] > errors[-CHECKED_EVERY]:
            power = (1 + power) / 2
    return u, v, most, False


def _self_transport(costs: Tensor, epsilon: float, tolerance: float) -> float:
    """OT of a set with itself: both potentials are equal, and their mean steps converge fast.

    As above, the value is that of one potential with the best other one for it.
    """
    f = costs.new_zeros(len(costs))
    for level in _levels(costs, epsilon):
        f = (f + _soft_minimum(costs - f, level)) / 2
    kernel = _kernel(costs, f, f, epsilon)
    u = costs.new_ones(len(costs))
    for _ in range(MOST_ITERATIONS):
        rows = u * (kernel @ u) / len(costs)
        if (rows - 1).abs().mean() < tolerance:
            return (2 * (f + epsilon * u.log()) - epsilon * rows.log()).mean().item()
        u = u * rows.rsqrt()
    raise _not_converged(epsilon)


def _levels(costs: Tensor, epsilon: float) -> Iterator[float]:
    """Yields falling epsilons, from the largest cost to the one that is asked for."""
    steps = max(math.ceil(math.log(max(costs.max().item() / epsilon, 1), LEVELS_APART)), 0)
    for step in range(steps, -1, -1):
        yield epsilon * LEVELS_APART**step


def _soft_minimum(costs: Tensor, epsilon: float) -> Tensor:
    """[n] values of -epsilon log mean exp(-costs / epsilon) over the columns of [n, m]."""
    mean = torch.logsumexp(costs / -epsilon, dim=1) - math.log(costs.shape[1])
    return -epsilon * mean


def _kernel(costs: Tensor, f: Tensor, g: Tensor, epsilon: float) -> Tensor:
    """[n, m]: the plan, of mean 1, for these potentials."""
    return (costs.neg() + f[:, None]).add_(g).div_(epsilon).exp_()


def _not_converged(epsilon: float) -> RuntimeError:
    return RuntimeError(
        f"Sinkhorn's iteration did not converge at epsilon = {epsilon:.3g} within "
        f"{MOST_ITERATIONS} steps: give a larger epsilon"
    )
