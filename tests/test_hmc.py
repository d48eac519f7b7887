import math

import pytest
import torch
from latent_models import BinaryImages, CountsDecodes, LinearGaussian

from benchmark.estimators import hmc
from benchmark.estimators.hmc import transition
from benchmark.estimators.latents import Gaussian, StandardLatents
from benchmark.estimators.likelihood import Likelihood
from benchmark.estimators.path import Path

N, CHAINS = 2, 15_000


def path_from_prior(model, x):
    start = Gaussian.standard(len(x), StandardLatents(model).latents, x.device)
    return Path(Likelihood(StandardLatents(model), x), start, from_prior=True)


def tempered(model, x, beta):
    """The posterior at an inverse temperature: the likelihood's noise is 1 / beta times as big."""
    tempered = LinearGaussian(1, 1, noise_var=model.noise_var / beta)
    tempered.weight, tempered.mean = model.weight, model.mean
    tempered._prior, tempered.covariance = model._prior, model.covariance
    return tempered.posterior(x)


def moved_from_equilibrium(step, moves=6, faulty=lambda path: None):
    """Standardised chains that began as exact samples of a tempered posterior, after moves."""
    beta = 0.6
    model = LinearGaussian(6, 2, noise_var=0.5)
    x = model.sample(N)
    posterior = tempered(model, x, beta)
    path = path_from_prior(model, x)
    faulty(path)
    position = path.evaluate(posterior.sample((CHAINS,)).transpose(0, 1))
    size = torch.full((N, 1, 2), step)
    rates = []
    for _ in range(moves):
        moved = transition(path, position, torch.full((N,), beta), size, 3)
        position = moved.position
        rates.append(moved.acceptance.mean().item())
    centred = position.u - posterior.loc.unsqueeze(1)
    white = torch.linalg.solve(posterior.scale_tril, centred.mT).mT
    return white, sum(rates) / moves


def misfit(white):
    """Greatest deviation of means and second moments from those of N(0, I), standard errors."""
    statistics = [white, white.square() - 1, (white[..., :1] * white[..., 1:])]
    values = torch.cat(statistics, dim=2)
    return (values.mean(dim=1) / (values.std(dim=1) / math.sqrt(CHAINS))).abs().max().item()


@pytest.mark.parametrize("step", [0.1, 0.55, 0.75])
def test_chains_in_equilibrium_stay_there(step):
    white, acceptance = moved_from_equilibrium(step)
    assert misfit(white) < 4.5
    assert acceptance < 0.999
    if step > 0.5:
        assert acceptance < 0.9  # far from what needs no test


def test_the_moves_reach_all_of_the_posterior():
    # Invariance alone holds for a chain that never moves.
    model = LinearGaussian(6, 2, noise_var=0.5)
    x = model.sample(N)
    posterior, path = tempered(model, x, 1.0), path_from_prior(model, x)
    position = path.evaluate(torch.zeros(N, CHAINS, 2))
    for _ in range(40):
        step = 0.3 * (0.8 + 0.4 * torch.rand(N, 1, 1)).expand(N, 1, 2)
        position = transition(path, position, torch.ones(N), step, 3).position
    white = torch.linalg.solve(
        posterior.scale_tril, (position.u - posterior.loc.unsqueeze(1)).mT
    ).mT
    assert misfit(white) < 4.5


def test_without_the_metropolis_test_chains_leave_equilibrium(monkeypatch):
    monkeypatch.setattr(hmc.torch, "rand_like", torch.zeros_like)
    white, _ = moved_from_equilibrium(0.55)
    assert misfit(white) > 20


def test_a_wrong_gradient_costs_acceptance_but_not_the_equilibrium():
    # Any function of the position makes a reversible proposal that keeps volume.
    def wrong(path):
        right, both = path.likelihood.gradient, path.likelihood.value_and_gradient

        def bent(gradient):
            return 0.5 * gradient + torch.tensor([0.7, -0.4])

        path.likelihood.gradient = lambda z: bent(right(z))
        path.likelihood.value_and_gradient = lambda z: (both(z)[0], bent(both(z)[1]))

    torch.manual_seed(1)
    _, right_rate = moved_from_equilibrium(0.4)
    torch.manual_seed(1)
    white, wrong_rate = moved_from_equilibrium(0.4, faulty=wrong)
    assert misfit(white) < 4.5
    assert wrong_rate < right_rate - 0.1


def test_a_gradient_that_is_no_function_of_the_position_leaves_the_equilibrium():
    # As a wrongly carried one would be: the first half kick sees another than the last.
    def wrong(path):
        slope, calls = path.slope, iter(range(1_000))
        path.slope = lambda u, gradient, beta: slope(
            u, gradient * (1.5 if next(calls) % 4 == 0 else 0.5), beta
        )

    white, _ = moved_from_equilibrium(0.4, faulty=wrong)
    assert misfit(white) > 20


def test_energy_errors_are_those_of_a_leapfrog_written_out(monkeypatch):
    model = BinaryImages()
    x = model.sample(3)
    path = path_from_prior(model, x)
    position = path.draw(5)
    momentum, step, beta = torch.randn_like(position.u), 0.04, torch.tensor([0.3, 0.8, 1.0])
    monkeypatch.setattr(hmc.torch, "randn_like", lambda u: momentum)

    def log_density(u):
        prior = -0.5 * u.square().sum(dim=2)
        return prior + beta[:, None] * model.decode(u).log_prob(x.unsqueeze(1))

    def slope(u):
        u = u.clone().requires_grad_()
        return torch.autograd.grad(log_density(u).sum(), u)[0]

    u, velocity = position.u, momentum
    for _ in range(4):
        velocity = velocity + step / 2 * slope(u)
        u = u + step * velocity
        velocity = velocity + step / 2 * slope(u)
    energies = [
        -log_density(at) + p.square().sum(dim=2) / 2
        for at, p in ((position.u, momentum), (u, velocity))
    ]
    moved = transition(path, position, beta, torch.full((3, 1, 2), step), 4)
    expected = energies[0] - energies[1]
    torch.testing.assert_close(moved.log_ratio.float(), expected, atol=1e-3, rtol=1e-3)
    chosen = moved.accepted.unsqueeze(2)
    expected = torch.where(chosen, u, position.u)
    torch.testing.assert_close(moved.position.u, expected, atol=1e-4, rtol=1e-4)


def test_a_full_period_of_the_oscillator_returns():
    # At temperature zero the density is N(0, I): u'' = -u, with period 2 pi.
    model = LinearGaussian(4, 3)
    path = path_from_prior(model, model.sample(N))
    position = path.draw(6)
    step = torch.full((N, 1, 3), 2 * math.pi / 1_000)
    moved = transition(path, position, torch.zeros(N), step, 1_000)
    torch.testing.assert_close(moved.position.u, position.u, atol=2e-3, rtol=0)
    half = transition(path, position, torch.zeros(N), step, 500)
    torch.testing.assert_close(half.position.u, -position.u, atol=2e-3, rtol=0)


@pytest.mark.parametrize("leapfrog", [1, 3, 10])
def test_a_trajectory_costs_one_evaluation_a_step(leapfrog):
    model = CountsDecodes(LinearGaussian(4, 2))
    path = path_from_prior(model, model.model.sample(N))
    position = path.draw(6)
    model.calls = 0
    transition(path, position, torch.ones(N), torch.full((N, 1, 2), 0.1), leapfrog)
    assert model.calls == leapfrog


def test_what_is_carried_is_what_is_found_there():
    model = BinaryImages()
    path = path_from_prior(model, model.sample(N))
    position = path.draw(30)
    moved = transition(path, position, torch.ones(N), torch.full((N, 1, 2), 0.3), 3)
    assert 0 < moved.accepted.float().mean() < 1
    torch.testing.assert_close(path.evaluate(moved.position.u), moved.position)


@pytest.mark.parametrize("step", [50.0, 1e12, 1e30])
@pytest.mark.parametrize("validate_args", [True, False])
def test_lost_trajectories_are_refused_and_counted(step, validate_args):
    model = LinearGaussian(6, 2)
    model.validate_args = validate_args
    path = path_from_prior(model, model.sample(N))
    position = path.draw(10)
    moved = transition(path, position, torch.ones(N), torch.full((N, 1, 2), step), 3)
    assert not moved.accepted.any()
    assert moved.diverged.all()
    assert moved.acceptance.max() == 0
    torch.testing.assert_close(moved.position, position)
