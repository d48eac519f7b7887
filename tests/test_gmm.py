import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import MultivariateNormal

from benchmark.data import load_dataset
from benchmark.spec import DataSpec
from zoo.gmm import ImageGMM, PointGMM, log_normal_mass


def test_the_mass_of_a_normal_interval_is_right_in_both_tails():
    low = torch.tensor([-40.0, -9.0, -0.3, 0.2, 8.5, 30.0, -torch.inf, 2.0], dtype=torch.float64)
    high = torch.tensor([-39.0, -8.0, 0.4, 0.9, 9.0, 31.0, -20.0, torch.inf], dtype=torch.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = reference_log_mass(low.numpy(), high.numpy())
    torch.testing.assert_close(log_normal_mass(low, high), torch.from_numpy(expected))


def reference_log_mass(low, high):
    # In the upper tail scipy's survival function keeps the digits that the distribution loses.
    by_survival = norm.logsf(low) + np.log1p(-np.exp(norm.logsf(high) - norm.logsf(low)))
    by_distribution = norm.logcdf(high) + np.log1p(-np.exp(norm.logcdf(low) - norm.logcdf(high)))
    return np.where(low + high > 0, by_survival, by_distribution)


def image_mixture():
    model = ImageGMM(DataSpec((1, 1, 2), levels=5))
    model.log_weights = torch.tensor([0.3, 0.7], dtype=torch.float64).log()
    model.means = torch.tensor([[0.2, 4.6], [2.5, 1.1]], dtype=torch.float64)
    model.deviations = torch.tensor([[0.4, 2.0], [1.5, 0.3]], dtype=torch.float64)
    return model


def test_image_masses_equal_differences_of_distribution_functions():
    model = image_mixture()
    edges = np.concatenate([[-np.inf], np.arange(1, 5), [np.inf]])
    expected = np.zeros((5, 5))
    for weight, means, deviations in zip((0.3, 0.7), model.means, model.deviations, strict=True):
        parts = [np.diff(norm(m, s).cdf(edges)) for m, s in zip(means, deviations, strict=True)]
        expected += weight * np.outer(*parts)
    x = torch.cartesian_prod(torch.arange(5), torch.arange(5)).view(25, 1, 1, 2)
    torch.testing.assert_close(model.log_prob(x).exp(), torch.from_numpy(expected.ravel()))


def test_image_samples_follow_the_masses():
    model = image_mixture()
    x = torch.cartesian_prod(torch.arange(5), torch.arange(5)).view(25, 1, 1, 2)
    drawn = model.sample(20_000).flatten(1).long()
    observed = torch.bincount(drawn[:, 0] * 5 + drawn[:, 1], minlength=25) / 20_000
    torch.testing.assert_close(observed.double(), model.log_prob(x).exp(), rtol=0, atol=0.012)


def test_a_point_mixture_finds_the_modes_of_the_ring():
    data = load_dataset("ring")
    model = PointGMM(data.spec)
    model.fit(data.train[:2_000], data.validation[:1_000], 1.0, None)
    nearest = torch.cdist(data.mixture.means, model.means).amin(dim=1)
    assert nearest.max() < 0.01
    assert model.log_prob(data.test).mean().item() == pytest.approx(
        -data.mixture.entropy, abs=0.05
    )


def test_point_density_equals_torchs_mixture():
    model = PointGMM(DataSpec((2,)))
    model.log_weights = torch.tensor([0.2, 0.8], dtype=torch.float64).log()
    model.means = torch.randn(2, 2, dtype=torch.float64)
    root = torch.randn(2, 2, 2, dtype=torch.float64)
    model.covariances = root @ root.mT + 0.1 * torch.eye(2)
    x = torch.randn(30, 2)
    parts = [
        MultivariateNormal(m, c).log_prob(x.double()).exp() * w
        for m, c, w in zip(model.means, model.covariances, (0.2, 0.8), strict=True)
    ]
    torch.testing.assert_close(model.log_prob(x), sum(parts).log())
    drawn = model.sample(40_000).double()
    mean = 0.2 * model.means[0] + 0.8 * model.means[1]
    torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.06, rtol=0)
    apart = model.means[0] - model.means[1]
    between = 0.2 * 0.8 * torch.outer(apart, apart)
    within = 0.2 * model.covariances[0] + 0.8 * model.covariances[1]
    torch.testing.assert_close(torch.cov(drawn.T), within + between, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("dims", "components"), [(2, 4), (7, 4), (8, 1)])
def test_components_have_twice_as_many_examples_as_dimensions(dims, components):
    rng = np.random.default_rng(3)
    centres = 100 * rng.standard_normal((4, dims))
    x = torch.from_numpy(centres[np.arange(60) % 4] + rng.standard_normal((60, dims))).float()
    model = PointGMM(DataSpec((dims,)))
    model.fit(x, x, 1.0, None)
    assert len(model.log_weights) >= components
    assert (len(model.log_weights) == 1) == (components == 1)
