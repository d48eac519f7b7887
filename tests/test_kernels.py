import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RationalQuadratic as RationalQuadraticOracle
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.kernels import (
    GaussianMixture,
    Polynomial,
    RationalQuadratic,
    median_distance,
    sums_between,
    sums_within,
    tiles_between,
    tiles_within,
)


def gaussian_oracle(x, y):
    widths = 1.3 * np.array([0.25, 0.5, 1, 2, 4])
    return np.mean([rbf_kernel(x, y, gamma=1 / (2 * width**2)) for width in widths], axis=0)


def rational_quadratic_oracle(x, y):
    alphas = [0.2, 0.5, 1, 2, 5]
    return np.mean([RationalQuadraticOracle(1.3, alpha)(x, y) for alpha in alphas], axis=0)


def polynomial_oracle(x, y):
    return polynomial_kernel(x, y, degree=3, gamma=1 / x.shape[1], coef0=1)


ORACLES = {
    "gaussian": (GaussianMixture(1.3), gaussian_oracle),
    "rational quadratic": (RationalQuadratic(1.3), rational_quadratic_oracle),
    "polynomial": (Polynomial(), polynomial_oracle),
}


@pytest.fixture(params=sorted(ORACLES))
def kernel_and_oracle(request):
    return ORACLES[request.param]


def sets():
    return torch.randn(17, 3).double() + 2, torch.randn(11, 3).double() * 1.7 + 2.5


def test_values_are_those_of_scikit_learn(kernel_and_oracle):
    kernel, oracle = kernel_and_oracle
    x, y = sets()
    np.testing.assert_allclose(kernel(x, y), oracle(x.numpy(), y.numpy()), rtol=1e-12)
    np.testing.assert_allclose(kernel(x, x), oracle(x.numpy(), x.numpy()), rtol=1e-12)


def test_arguments_are_left_as_they_were(kernel_and_oracle):
    kernel, _ = kernel_and_oracle
    x, y = sets()
    before = x.clone(), y.clone()
    kernel(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@pytest.mark.parametrize("kernel", [GaussianMixture(1.0), RationalQuadratic(1.0)])
def test_distances_far_from_the_origin_keep_their_digits(kernel):
    x, y = sets()
    torch.testing.assert_close(kernel(x + 1e7, y + 1e7), kernel(x, y), rtol=1e-6, atol=0)


@pytest.mark.parametrize("tile", [1_000, 4])
def test_sums_over_subsets_are_the_sums_over_their_pairs(monkeypatch, kernel_and_oracle, tile):
    monkeypatch.setattr("benchmark.metrics.kernels.TILE", tile)
    kernel, oracle = kernel_and_oracle
    x, y = sets()
    of_x, of_y = torch.rand(17, 5) > 0.4, torch.rand(11, 5) > 0.4
    within, between = oracle(x.numpy(), x.numpy()), oracle(x.numpy(), y.numpy())
    np.fill_diagonal(within, 0.0)
    ticks = []

    found = sums_within(kernel, x, of_x, lambda: ticks.append("within"))
    found_between = sums_between(kernel, x, y, of_x, of_y, lambda: ticks.append("between"))

    a, b = of_x.numpy().astype(float), of_y.numpy().astype(float)
    np.testing.assert_allclose(found.subsets, np.diag(a.T @ within @ a), rtol=1e-12)
    np.testing.assert_allclose(found.examples, within.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found_between, np.diag(a.T @ between @ b), rtol=1e-12)
    assert ticks.count("within") == tiles_within(17)
    assert ticks.count("between") == tiles_between(17, 11)


def test_single_precision_vectors_are_summed_in_double():
    x = torch.randn(40, 8)
    members = torch.ones(40, 1, dtype=torch.bool)
    found = sums_within(GaussianMixture(1.0), x, members, lambda: None)
    exact = sums_within(GaussianMixture(1.0), x.double(), members, lambda: None)
    assert found.subsets.dtype == torch.float64
    assert found.subsets.item() == exact.subsets.item()


def test_median_distance_is_that_of_the_pairs():
    assert median_distance(torch.tensor([[0.0], [1.0], [4.0]])) == 3.0


def test_median_distance_of_many_is_taken_from_all_over_the_set(monkeypatch):
    monkeypatch.setattr("benchmark.metrics.kernels.MOST_FOR_MEDIAN", 3)
    assert median_distance(torch.tensor([[0.0], [9.0], [1.0], [9.0], [4.0]])) == 3.0


def test_coinciding_examples_have_no_bandwidth():
    with pytest.raises(NotApplicable, match="coincide"):
        median_distance(torch.ones(10, 2))


@pytest.mark.parametrize("kernel", [GaussianMixture, RationalQuadratic])
@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan")])
def test_rejects_a_bandwidth_that_is_no_length(kernel, bandwidth):
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        kernel(bandwidth)
