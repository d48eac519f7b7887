import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from benchmark.metrics import wasserstein
from benchmark.metrics.resampling import half_samples
from benchmark.metrics.wasserstein import measure, wasserstein2
from benchmark.randomness import generator


def linear_programme(x, y):
    """The optimal mean squared distance from scipy's general solver."""
    costs = cdist(x, y, "sqeuclidean")
    n, m = costs.shape
    row_sums, column_sums = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    marginals = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return linprog(costs.ravel(), A_eq=np.vstack([row_sums, column_sums]), b_eq=marginals).fun


def test_in_one_dimension_it_pairs_sorted_values():
    real, generated = torch.randn(200, 1).double(), torch.rand(200, 1).double() * 3
    gaps = real.flatten().sort().values - generated.flatten().sort().values
    found = wasserstein2(real=real, generated=generated)
    assert found == pytest.approx(gaps.square().mean().sqrt().item(), rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(9, 9), (9, 14), (14, 6)])
def test_agrees_with_linear_programming(n, m):
    real, generated = torch.randn(n, 3).double(), torch.randn(m, 3).double() * 2 + 1
    expected = linear_programme(real.numpy(), generated.numpy()) ** 0.5
    assert wasserstein2(real=real, generated=generated) == pytest.approx(expected, rel=1e-7)


def test_transport_equals_assignment_at_equal_sizes():
    costs = cdist(np.random.default_rng(0).normal(size=(60, 4)), np.ones((60, 4)) / 3)
    costs = costs + np.random.default_rng(1).random((60, 60))
    assignment, transport = wasserstein._assignment_cost(costs), wasserstein._transport_cost(costs)
    assert transport == pytest.approx(assignment, rel=1e-10)


def test_transport_goes_on_until_it_converges(monkeypatch):
    costs = np.random.default_rng(0).random((70, 50))
    expected = wasserstein._transport_cost(costs)
    monkeypatch.setattr(wasserstein, "FIRST_ITERATIONS", 1)
    assert wasserstein._transport_cost(costs) == pytest.approx(expected, rel=1e-10)


def test_transport_that_does_not_converge_is_an_error(monkeypatch):
    monkeypatch.setattr(wasserstein, "FIRST_ITERATIONS", 1)
    monkeypatch.setattr(wasserstein, "LAST_ITERATIONS", 10)
    with pytest.raises(RuntimeError, match="did not converge"):
        wasserstein._transport_cost(np.random.default_rng(0).random((70, 50)))


def test_approaches_the_closed_form_for_gaussians():
    # Equal covariances: the distance is that of the means, up to the bias of finite n.
    real, generated = torch.randn(900, 2), torch.randn(900, 2) + torch.tensor([3.0, -4.0])
    assert wasserstein2(real=real, generated=generated) == pytest.approx(5, rel=0.03)


def test_is_zero_for_the_same_examples_in_another_order():
    real = torch.randn(50, 3)
    assert wasserstein2(real=real, generated=real.flip(0)) == 0


def test_a_constant_set_is_as_far_as_its_mean_square():
    real = torch.randn(50, 3).double()
    expected = real.square().sum(dim=1).mean().sqrt().item()
    found = wasserstein2(real=real, generated=torch.zeros(50, 3))
    assert found == pytest.approx(expected, rel=1e-12)


def test_measures_the_first_examples_up_to_a_limit_and_says_so(monkeypatch):
    monkeypatch.setattr(wasserstein, "MOST", 80)
    real, generated = torch.randn(110, 1), torch.randn(110, 1) + 2
    found = measure(points_evidence(real, generated))
    expected = wasserstein2(real=real[:80], generated=generated[:80])
    assert found.n == 80
    assert found.value == pytest.approx(expected)


def test_error_is_that_of_half_samples_solved_from_scratch():
    real, generated = torch.randn(90, 2), torch.randn(90, 2) * 2 + 1
    found = measure(points_evidence(real, generated, seed=3))
    expected = half_samples(
        wasserstein2, real=real, generated=generated, generator=generator("wasserstein", 3)
    )
    assert found.value == pytest.approx(wasserstein2(real=real, generated=generated), rel=1e-10)
    assert found.details["half_samples"]["values"] == pytest.approx(expected.values, rel=1e-10)


def test_error_is_near_the_spread_over_fresh_samples():
    found = [
        measure(points_evidence(torch.randn(60, 2), torch.randn(60, 2) * 2 + 1, seed=seed))
        for seed in range(60)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.35)


def test_images_compare_by_features():
    real, generated = random_images(30), random_images(30)
    evidence = images_evidence(real, generated)
    expected = wasserstein2(
        real=evidence.real_features.features, generated=evidence.generated_features.features
    )
    assert measure(evidence).value == pytest.approx(expected)
