import math

import pytest
import torch
from latent_models import BinaryImages, EncodedLinearGaussian, LinearGaussian, standard_prior
from torch.distributions import Independent, Normal

from benchmark.estimators.ais import anneal
from benchmark.estimators.latents import Gaussian, StandardLatents, gaussian_of
from benchmark.estimators.likelihood import Likelihood
from benchmark.estimators.pilot import (
    LEAST_STEP,
    QUARTER_PERIOD,
    STARTS,
    TARGET_ACCEPTANCE,
    WIDENING,
    pooled_fisher_information,
    precision_at,
    tune,
)
from benchmark.estimators.schedule import schedule

N, LEAPFROG = 6, 3


@pytest.fixture
def linear():
    return EncodedLinearGaussian(20, 3)


def tuned(model, x, start="prior", leapfrog=LEAPFROG):
    proposal = gaussian_of(model.encode(x)) if start == "encoder" else None
    with torch.no_grad():
        return tune(Likelihood(StandardLatents(model), x), start, leapfrog, proposal)


@pytest.mark.parametrize("start", STARTS)
def test_tables_reach_from_the_start_to_the_posterior(linear, start):
    found = tuned(linear, linear.sample(N), start)
    assert (found.betas[:, 0] == 0).all()
    assert (found.betas[:, -1] == 1).all()
    assert (found.betas.diff(dim=1) >= 0).all()
    assert (found.spread > 0).all()
    assert (found.steps >= LEAST_STEP).all()
    assert (found.steps <= QUARTER_PERIOD / LEAPFROG + 1e-6).all()
    assert found.path.from_prior == (start == "prior")
    assert found.curvature.shape == (N, 3)


def test_the_spread_is_that_of_the_log_likelihood(linear):
    # At temperature zero the chains are independent draws from the prior.
    x = linear.sample(100)
    found = tuned(linear, x)
    z = torch.randn(2_000, 100, 3)
    expected = linear.decode(z).log_prob(x).std(dim=0)
    # Of eight chains, and smoothed over neighbours: the spread falls quickly from there.
    ratio = (found.spread[:, 0] / expected).log().mean().exp()
    assert 0.4 < ratio < 1.1


@pytest.mark.parametrize("leapfrog", [1, 3, 10])
def test_frozen_steps_are_accepted_as_aimed_or_as_long_as_allowed(leapfrog):
    model = BinaryImages(gain=3.0)
    tuning = tuned(model, model.sample(30), leapfrog=leapfrog)
    betas = schedule("adaptive", 200, tuning.betas, tuning.spread)
    with torch.no_grad():
        run = anneal(tuning, betas, 16, leapfrog)
    longest = tuning.step_sizes(betas) > 0.95 * QUARTER_PERIOD / leapfrog
    acceptance = run.acceptance.mean().item()
    assert acceptance > TARGET_ACCEPTANCE - 0.25  # a few long steps are lost on purpose
    assert acceptance < TARGET_ACCEPTANCE + 0.12 or longest.float().mean() > 0.1
    assert run.divergences.max() < 0.05


def test_fisher_information_of_a_linear_decoder_is_its_closed_form(linear):
    likelihood = Likelihood(StandardLatents(linear), linear.sample(N))
    found = pooled_fisher_information(likelihood, torch.randn(N, 3_000, 3))
    expected = linear.weight.T @ linear.weight / linear.noise_var
    assert (found - expected).flatten(1).norm(dim=1).max() < 0.05 * expected.norm()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("noise_var", [0.1, 10.0])  # the data say more or less than the prior
def test_coordinates_are_the_axes_of_the_posterior_and_curvature_its_precision(noise_var, start):
    linear = EncodedLinearGaussian(20, 3, noise_var)
    x = linear.sample(N)
    tuning = tuned(linear, x, start)
    precision = torch.linalg.inv(linear.posterior(x).covariance_matrix)
    factor = tuning.path.start.factor
    found = factor.mT @ precision @ factor
    expected = torch.diag_embed(tuning.curvature)
    assert ((found - expected).flatten(1).norm(dim=1) < 0.35 * found.flatten(1).norm(dim=1)).all()


def test_the_posterior_start_covers_the_posterior(linear):
    x = linear.sample(N)
    start = tuned(linear, x, "posterior").path.start
    posterior = linear.posterior(x)
    shift = torch.linalg.solve_triangular(
        posterior.scale_tril, (start.mean - posterior.loc).unsqueeze(2), upper=False
    )
    assert shift.square().mean().sqrt() < 0.5  # standard deviations
    log_ratio = start.log_volume - posterior.scale_tril.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    assert (log_ratio - 1.5 * math.log(WIDENING)).abs().max() < 0.4


def test_the_posterior_start_is_a_number_where_precisions_span_what_doubles_hold():
    """A generator whose training ran away: some latents are known to 1e-8, some not at all."""
    torch.manual_seed(0)
    model = LinearGaussian(8, 24, noise_var=1.0)
    model.weight *= 1e9
    start = tuned(model, model.sample(N), "posterior").path.start
    assert bool(start.factor.isfinite().all())
    assert bool(start.log_volume.isfinite().all())


def test_step_sizes_are_read_between_temperatures(linear):
    tuning = tuned(linear, linear.sample(N))
    torch.testing.assert_close(tuning.step_sizes(tuning.betas.double()), tuning.steps)
    middle = (tuning.betas[:, :-1] + tuning.betas[:, 1:]).double() / 2
    between = tuning.step_sizes(middle)
    pairs = torch.stack([tuning.steps[:, :-1], tuning.steps[:, 1:]])
    assert (between >= pairs.amin(dim=0) * 0.999).all()
    assert (between <= pairs.amax(dim=0) * 1.001).all()


def test_precision_rises_from_that_of_the_start_to_that_of_the_posterior():
    curvature = torch.tensor([[4.0, 9.0], [1.0, 25.0], [0.5, 2.0]])
    found = precision_at(curvature, torch.tensor([1.0, 0.5, 0.0]))
    torch.testing.assert_close(found, torch.tensor([[4.0, 9.0], [1.0, 13.0], [1.0, 1.0]]))


def test_a_pilot_run_repeats_under_its_seed(linear):
    x = linear.sample(N)
    first, second = [(torch.manual_seed(3), tuned(linear, x, "posterior"))[1] for _ in range(2)]
    for name in ("betas", "spread", "steps", "curvature"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=0)


class Blind:
    """A decoder that does not look at its latents: log p(x) is log p(x given any z)."""

    def __init__(self):
        self.prior = lambda: standard_prior(2)

    def decode(self, z):
        return Independent(Normal(torch.zeros(*z.shape[:-1], 5), 1.5), 1)


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_a_decoder_that_ignores_its_latents_is_no_exception(start):
    model, x = Blind(), torch.randn(N, 5)
    tuning = tuned(model, x, start)
    betas = schedule("adaptive", 30, tuning.betas, tuning.spread)
    with torch.no_grad():
        found = anneal(tuning, betas, 8, LEAPFROG).lower_bound
    expected = Normal(0.0, 1.5).log_prob(x).sum(dim=1).double()
    # From a fitted Gaussian the start itself has to be annealed away.
    torch.testing.assert_close(found, expected, atol=1e-4 if start == "prior" else 0.1, rtol=1e-4)


def test_unknown_starts_and_missing_encoders_are_refused(linear):
    likelihood = Likelihood(StandardLatents(linear), linear.sample(N))
    with pytest.raises(ValueError, match="no start named 'middle'; known: prior, encoder, post"):
        tune(likelihood, "middle", LEAPFROG)
    with pytest.raises(ValueError, match="needs a model with encode"):
        tune(likelihood, "encoder", LEAPFROG)


def test_the_pilot_sees_the_start_it_prepares_for():
    # A proposal that equals the posterior leaves nothing to anneal: two temperatures suffice.
    model = LinearGaussian(20, 3)
    x = model.sample(N)
    posterior = gaussian_of(model.posterior(x))
    with torch.no_grad():
        tuning = tune(Likelihood(StandardLatents(model), x), "encoder", LEAPFROG, posterior)
    assert tuning.betas.shape[1] == 2
    assert isinstance(tuning.path.start, Gaussian)
    torch.testing.assert_close(tuning.path.start.mean, posterior.mean)


class Squares(torch.nn.Module):
    """x = z^2 + noise: z and -z explain the same x."""

    def prior(self):
        return standard_prior(2)

    def decode(self, z):
        return Independent(Normal(z.square(), 0.05), 1)


def test_the_posterior_start_covers_islands_that_lie_apart():
    x = torch.tensor([[1.5, 1.0], [0.8, 2.0]])
    torch.manual_seed(0)
    start = tuned(Squares(), x, "posterior").path.start
    spread = (start.factor @ start.factor.mT).diagonal(dim1=1, dim2=2).sqrt()
    assert (start.mean.abs() + 2 * spread > x.sqrt()).all()
    assert (start.mean.abs() + spread < 2 * x.sqrt()).all()
