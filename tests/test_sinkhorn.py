import numpy as np
import ot
import pytest
import torch
from sample_evidence import points_evidence

from benchmark.metrics import sinkhorn
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.sinkhorn import mean_cost, measure, sinkhorn_divergence
from benchmark.metrics.wasserstein import wasserstein2


def entropic_transport(x, y, epsilon):
    """<cost, plan> + epsilon KL(plan | product of the marginals), by POT."""
    costs = ot.dist(x, y)
    a, b = (np.full(len(z), 1 / len(z)) for z in (x, y))
    plan = ot.sinkhorn(a, b, costs, epsilon, numItermax=20_000, stopThr=1e-10)
    return (costs * plan).sum() + epsilon * (plan * np.log(plan / np.outer(a, b))).sum()


def divergence_by_pot(x, y, epsilon):
    x, y = x.numpy(), y.numpy()
    within = entropic_transport(x, x, epsilon) + entropic_transport(y, y, epsilon)
    return entropic_transport(x, y, epsilon) - within / 2


@pytest.mark.parametrize(("n", "m", "share"), [(30, 30, 0.5), (30, 19, 0.3), (13, 20, 0.25)])
def test_equals_the_definition_computed_by_pot(n, m, share):
    real, generated = torch.randn(n, 3).double() + 1, torch.randn(m, 3).double() * 1.6
    epsilon = share * mean_cost(real)
    found = sinkhorn_divergence(real=real, generated=generated, epsilon=epsilon, tolerance=1e-8)
    assert found == pytest.approx(divergence_by_pot(real, generated, epsilon), rel=1e-8)


@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-3])
def test_value_errs_by_less_than_the_tolerance_of_epsilon(tolerance):
    real, generated = torch.randn(60, 3).double(), torch.randn(47, 3).double() * 1.6
    exact, rough = (
        sinkhorn_divergence(real=real, generated=generated, epsilon=0.8, tolerance=allowed)
        for allowed in (1e-10, tolerance)
    )
    assert rough == pytest.approx(exact, abs=0.8 * tolerance)


def test_tends_to_the_exact_distance_as_epsilon_falls():
    real, generated = torch.randn(40, 2).double(), torch.randn(40, 2).double() * 2 + 1
    exact = wasserstein2(real=real, generated=generated) ** 2
    errors = [
        abs(sinkhorn_divergence(real=real, generated=generated, epsilon=epsilon) - exact)
        for epsilon in (3.0, 0.3, 0.03)
    ]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[2] < 2e-3 * exact


def test_tends_to_the_distance_of_the_means_as_epsilon_grows():
    real, generated = torch.randn(40, 2).double(), torch.randn(30, 2).double() * 2 + 1
    shift = (real.mean(dim=0) - generated.mean(dim=0)).square().sum().item()
    found = sinkhorn_divergence(real=real, generated=generated, epsilon=1e6)
    assert found == pytest.approx(shift, rel=1e-3)


def test_a_shift_counts_with_its_square_at_any_epsilon():
    real, shift = torch.randn(50, 3).double(), torch.tensor([1.0, -2.0, 0.5])
    for epsilon in (0.2, 5.0):
        found = sinkhorn_divergence(real=real, generated=real + shift, epsilon=epsilon)
        assert found == pytest.approx(5.25, rel=1e-4)


def test_is_zero_for_the_same_examples_in_another_order():
    real = torch.randn(50, 3).double()
    found = sinkhorn_divergence(real=real, generated=real.flip(0), epsilon=0.5)
    assert found == pytest.approx(0, abs=1e-8)


def test_examples_far_from_the_origin_keep_their_digits():
    real, generated = torch.randn(30, 3).double(), torch.randn(30, 3).double() + 1
    near = sinkhorn_divergence(real=real, generated=generated, epsilon=0.5)
    far = sinkhorn_divergence(real=real + 1e6, generated=generated + 1e6, epsilon=0.5)
    assert far == pytest.approx(near, rel=1e-6)


def test_a_single_repeated_example_costs_its_mean_square_less_the_real_self_term():
    real = torch.randn(50, 3).double()
    epsilon = 2.0
    self_term = entropic_transport(real.numpy(), real.numpy(), epsilon)
    expected = real.square().sum(dim=1).mean().item() - self_term / 2
    found = sinkhorn_divergence(real=real, generated=torch.zeros(50, 3), epsilon=epsilon)
    assert found == pytest.approx(expected, rel=1e-6)


def test_scalings_that_grow_too_large_are_taken_into_the_potentials(monkeypatch):
    real, generated = torch.randn(40, 2).double(), torch.randn(30, 2).double() * 2 + 1
    expected = sinkhorn_divergence(real=real, generated=generated, epsilon=0.1)
    monkeypatch.setattr(sinkhorn, "LARGEST_SCALING", 1.5)
    monkeypatch.setattr(sinkhorn, "CHECKED_EVERY", 6)
    found = sinkhorn_divergence(real=real, generated=generated, epsilon=0.1)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("most", [1, 3])
def test_an_iteration_that_does_not_converge_is_an_error(monkeypatch, most):
    monkeypatch.setattr(sinkhorn, "MOST_ITERATIONS", most)
    with pytest.raises(RuntimeError, match="give a larger epsilon"):
        sinkhorn_divergence(real=torch.randn(30, 2), generated=torch.randn(30, 2), epsilon=0.05)


def test_over_relaxation_needs_half_the_iterations_of_the_plain_algorithm(monkeypatch):
    real, generated = torch.randn(40, 3).double(), torch.randn(27, 3).double() * 1.6
    costs = sinkhorn._costs(real, generated)
    _, log = ot.sinkhorn([], [], costs.numpy(), 0.8, stopThr=1e-8, log=True)
    monkeypatch.setattr(sinkhorn, "MOST_ITERATIONS", log["niter"] // 2)
    assert sinkhorn._transport(costs, 0.8, tolerance=1e-8) > 0


def test_mean_cost_is_that_of_all_real_pairs():
    real = torch.randn(20, 3).double() + 4
    assert mean_cost(real) == pytest.approx(torch.pdist(real).square().mean().item(), rel=1e-12)


def test_coinciding_real_examples_have_no_epsilon():
    with pytest.raises(NotApplicable, match="coincide"):
        mean_cost(torch.ones(10, 2))


def test_rejects_an_epsilon_of_zero():
    with pytest.raises(ValueError, match="epsilon must be positive"):
        sinkhorn_divergence(real=torch.randn(4, 2), generated=torch.randn(4, 2), epsilon=0.0)


def test_measures_the_first_examples_with_the_epsilon_of_the_real_ones(monkeypatch):
    monkeypatch.setattr(sinkhorn, "MOST", 60)
    real, generated = torch.randn(90, 2), torch.randn(90, 2) * 3
    found = measure(points_evidence(real, generated))
    epsilon = sinkhorn.REGULARISATION * mean_cost(real[:60])
    expected = sinkhorn_divergence(real=real[:60], generated=generated[:60], epsilon=epsilon)
    assert found.n == 60
    assert found.value == pytest.approx(expected)
    assert found.details["epsilon"] == pytest.approx(epsilon)


def test_error_is_near_the_spread_over_fresh_samples(monkeypatch):
    monkeypatch.setattr(sinkhorn, "REGULARISATION", 0.3)  # which converges sooner
    found = [
        measure(points_evidence(torch.randn(40, 2), torch.randn(40, 2) * 2 + 1, seed=seed))
        for seed in range(20)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.4)
