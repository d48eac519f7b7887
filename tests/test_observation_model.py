import math

import numpy as np
import pytest
import torch
from latent_models import LinearGaussian, standard_prior
from scipy.stats import norm
from torch.distributions import Normal

from benchmark.estimators.bdmc import Settings, annealed_lower_bound
from benchmark.estimators.observation import (
    DiscretisedGaussian,
    Observation,
    fit_sigma,
    observed,
)
from benchmark.spec import DataSpec, Encoder, LatentModel

CORNERS = torch.cartesian_prod(
    torch.tensor([-300.0, -0.5, 3.3, 19.7, 900.0]), torch.tensor([0.01, 0.3, 1.0, 7.0, 80.0])
)


def masses(loc, sigma, levels):
    """[levels, ...] log-masses of every integer."""
    values = torch.arange(levels).view(-1, *[1] * loc.ndim)
    return DiscretisedGaussian(loc, sigma, levels).log_prob(values)


def expected_mass(value, loc, sigma, levels):
    """By scipy's distribution functions in float64, in the tail where these keep their digits."""
    low = -math.inf if value == 0 else (value - 0.5 - loc) / sigma
    high = math.inf if value == levels - 1 else (value + 0.5 - loc) / sigma
    if low > 0:
        low, high = -high, -low
    return norm.logcdf(high) + np.log1p(-np.exp(norm.logcdf(low) - norm.logcdf(high)))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_masses_of_all_levels_sum_to_one(levels):
    loc, sigma = CORNERS.double().T
    total = masses(loc, sigma, levels).logsumexp(dim=0)
    torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-9, rtol=0)
    total = masses(*CORNERS.T, levels).double().logsumexp(dim=0)
    torch.testing.assert_close(total, torch.zeros_like(total), atol=2e-3, rtol=0)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("sigma", [0.2, 1.3, 40.0])
@pytest.mark.parametrize("loc", [-40.0, -0.2, 5.1, 130.6, 400.0])
def test_a_mass_is_a_difference_of_distribution_functions_also_far_away(loc, sigma, levels):
    expected = torch.tensor([expected_mass(k, loc, sigma, levels) for k in range(levels)])
    where = torch.tensor(loc, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
    torch.testing.assert_close(masses(*where, levels), expected, rtol=1e-8, atol=1e-8)
    single = masses(where[0].float(), where[1].float(), levels).double()
    torch.testing.assert_close(single, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("levels", [2, 256])
def test_slopes_are_finite_and_point_to_the_value_however_far_it_is(levels):
    sigma = CORNERS[:, 1].clamp(min=0.2)  # up to 4,500 standard deviations off
    loc = CORNERS[:, 0].clone().requires_grad_()
    for value in (0, levels // 2, levels - 1):
        log_prob = DiscretisedGaussian(loc, sigma, levels).log_prob(torch.tensor(value))
        (slope,) = torch.autograd.grad(log_prob.sum(), loc)
        assert log_prob.isfinite().all()
        assert slope.isfinite().all()
        # Within a level of the value a sharp mass is flat, as are the tails beyond the ends.
        distance = value - loc.detach()
        outer = (value == 0) & (distance > 0) | (value == levels - 1) & (distance < 0)
        far = (distance.abs() > 3) & ~outer
        assert far.any()
        assert (slope[far].sign() == distance[far].sign()).all()


def test_the_slope_is_that_of_finite_differences():
    loc = torch.tensor([2.3, -1.0, 9.4, 30.0], dtype=torch.float64, requires_grad=True)
    sigma, value = torch.tensor(0.8, dtype=torch.float64), torch.tensor([3, 0, 8, 16])
    log_prob = DiscretisedGaussian(loc, sigma, 17).log_prob
    (slope,) = torch.autograd.grad(log_prob(value).sum(), loc)

    def at(shift):
        return DiscretisedGaussian(loc.detach() + shift, sigma, 17).log_prob(value)

    torch.testing.assert_close(slope, (at(1e-5) - at(-1e-5)) / 2e-5, rtol=1e-6, atol=1e-9)


def test_draws_follow_the_masses():
    distribution = DiscretisedGaussian(torch.tensor([1.1, -2.0, 5.4]), torch.tensor(1.7), 5)
    drawn = distribution.sample((40_000,))
    assert drawn.shape == (40_000, 3)
    found = torch.stack([(drawn == level).float().mean(dim=0) for level in range(5)])
    expected = masses(distribution.loc, distribution.sigma, 5).exp()
    torch.testing.assert_close(found, expected, atol=0.012, rtol=0)


class Linear:
    """A generator x = scale (W z) + shift: with noise it is a linear-Gaussian model."""

    def __init__(self, spec, latents=2, scale=1.0, shift=0.0):
        self.spec, self.scale, self.shift = spec, scale, shift
        self.inner = LinearGaussian(spec.dims, latents)
        self.prior = self.inner.prior

    def generate(self, z):
        flat = self.inner.decode(z).base_dist.loc
        return (self.scale * flat + self.shift).unflatten(-1, self.spec.shape)

    def noisy(self, n, sigma):
        x = self.generate(self.prior().sample((n,)))
        x = x + sigma * torch.randn_like(x)
        if not self.spec.is_image:
            return x
        return x.round().clamp(0, self.spec.levels - 1).to(torch.uint8)


POINTS, IMAGES = DataSpec((40,)), DataSpec((1, 4, 6), levels=64)


@pytest.mark.parametrize("sigma", [0.02, 0.3, 2.0])
def test_the_noise_of_points_is_recovered(sigma):
    generator = Linear(POINTS)
    assert fit_sigma(generator, POINTS, generator.noisy(60, sigma)) == pytest.approx(
        sigma, rel=0.06
    )


@pytest.mark.parametrize("sigma", [0.6, 3.0])
def test_the_noise_of_images_is_recovered_in_levels(sigma):
    generator = Linear(IMAGES, scale=8.0, shift=30.0)
    found = fit_sigma(generator, IMAGES, generator.noisy(60, sigma))
    assert found == pytest.approx(sigma, rel=0.08)


def test_sigma_is_the_likeliest_one():
    # On data that the generator did not make, the closed form says which one that is.
    generator = Linear(DataSpec((12,)))
    validation = 1.5 * torch.randn(50, 12) @ torch.randn(12, 12) / 3
    found = fit_sigma(generator, generator.spec, validation)

    def fitness(sigma):
        generator.inner.noise_var = sigma**2
        return generator.inner.exact(validation).mean().item()

    trials = [found * 1.02**step for step in range(-20, 21)]
    best = max(trials, key=fitness)
    assert found == pytest.approx(best, rel=0.05)


def test_the_same_seed_fits_the_same_sigma():
    generator = Linear(IMAGES, scale=8.0, shift=30.0)
    validation = generator.noisy(5, 2.0)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(fit_sigma(generator, IMAGES, validation))
    assert found[0] == found[1]


def test_a_generator_that_hits_the_data_gets_the_least_sigma():
    generator = Linear(POINTS)
    generator.generate = lambda z: torch.ones(*z.shape[:-1], 40)
    found = fit_sigma(generator, POINTS, torch.ones(20, 40))
    assert 0 < found < 1e-3


def test_a_generator_of_nan_is_named_as_the_cause():
    generator = Linear(POINTS)
    whole = generator.generate
    generator.generate = lambda z: whole(z) * math.nan
    with pytest.raises(ValueError, match=r"generate\(z\) gives values that are no numbers"):
        fit_sigma(generator, POINTS, torch.randn(20, 40))


def test_a_generator_with_noise_is_a_latent_model_and_keeps_its_encoder():
    generator = Linear(IMAGES)
    model = observed(generator, IMAGES, 2.0)
    assert isinstance(model, LatentModel)
    assert not isinstance(model, Encoder)
    decoded = model.decode(torch.randn(5, 3, 2))
    assert decoded.event_shape == (1, 4, 6)
    assert decoded.sample().shape == (5, 3, 1, 4, 6)
    generator.encode = lambda x: ("encoded", x)
    assert isinstance(observed(generator, IMAGES, 2.0), Encoder)
    assert observed(generator, IMAGES, 2.0).encode(7) == ("encoded", 7)


def test_points_have_a_density_and_images_a_mass():
    z = torch.randn(4, 2)
    generator = Linear(POINTS)
    density = Observation(generator, POINTS, 0.7).decode(z)
    x = torch.randn(4, 40)
    expected = Normal(generator.generate(z), 0.7).log_prob(x).sum(dim=1)
    torch.testing.assert_close(density.log_prob(x), expected)
    generator = Linear(IMAGES, scale=8.0, shift=30.0)
    mass = Observation(generator, IMAGES, 0.7).decode(z)
    x = torch.randint(0, 64, (4, 1, 4, 6))
    expected = masses(generator.generate(z), torch.tensor(0.7), 64)
    expected = expected.gather(0, x.unsqueeze(0)).flatten(1).sum()
    torch.testing.assert_close(mass.log_prob(x).sum(), expected)


def test_the_likelihood_of_a_linear_generator_is_its_closed_form():
    generator = Linear(POINTS)
    x = generator.noisy(50, 0.4)
    sigma = fit_sigma(generator, POINTS, x)
    generator.inner.noise_var = sigma**2
    model = observed(generator, POINTS, sigma)
    found = annealed_lower_bound(model, x, Settings(temperatures=100, start="posterior"))
    expected = generator.inner.exact(x).mean()
    torch.testing.assert_close(found.lower_bound.mean(), expected, atol=0.05, rtol=0)


def test_masses_of_the_images_of_a_generator_sum_to_one():
    spec = DataSpec((1, 1, 2), levels=3)
    generator = Linear(spec, shift=1.0)
    every = torch.cartesian_prod(torch.arange(3), torch.arange(3)).view(9, *spec.shape)
    model = observed(generator, spec, 0.6)
    chains = annealed_lower_bound(model, every, Settings(chains=800, temperatures=20))
    assert chains.log_weights.exp().mean(dim=1).sum().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_a_sigma_that_is_none_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be positive and finite"):
        Observation(Linear(POINTS), POINTS, sigma)


def test_no_latents_are_refused():
    generator = Linear(POINTS)
    generator.prior = lambda: standard_prior(0)
    with pytest.raises(ValueError, match="at least one latent"):
        fit_sigma(generator, POINTS, torch.randn(20, 40))
