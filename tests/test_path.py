import math

import pytest
import torch
from latent_models import BinaryImages, LinearGaussian
from torch.distributions import MultivariateNormal

from benchmark.estimators.latents import Gaussian, StandardLatents
from benchmark.estimators.likelihood import Likelihood
from benchmark.estimators.path import Path

N, CHAINS, LATENTS = 3, 4, 2


def path_of(model, x, from_prior):
    """From the rotated prior, or from some Gaussian in general position."""
    factor = torch.randn(N, LATENTS, LATENTS)
    start = Gaussian(torch.randn(N, LATENTS), factor)
    if from_prior:
        # A product of reflections, for a single one is symmetric.
        rotation = torch.linalg.qr(factor)[0] @ torch.linalg.qr(torch.randn_like(factor))[0]
        start = Gaussian(torch.zeros(N, LATENTS), rotation)
    return Path(Likelihood(StandardLatents(model), x), start, from_prior)


@pytest.fixture(params=[True, False], ids=["from the prior", "from a Gaussian"])
def path(request):
    model = BinaryImages()
    return path_of(model, model.sample(N), request.param)


def test_coordinates_return(path):
    u = torch.randn(N, CHAINS, LATENTS)
    torch.testing.assert_close(path.u(path.z(u)), u, rtol=1e-3, atol=1e-3)


def test_the_end_of_the_path_is_the_joint_density_and_its_start_the_start(path):
    u = torch.randn(N, CHAINS, LATENTS)
    position, z = path.evaluate(u), path.z(u)
    model, x = path.likelihood.model.model, path.likelihood.x
    joint = model.prior().log_prob(z) + model.decode(z).log_prob(x)
    covariance = path.start.factor @ path.start.factor.mT
    start = MultivariateNormal(path.start.mean, covariance).log_prob(z.transpose(0, 1)).T
    torch.testing.assert_close(position.gain.float(), joint - start, rtol=1e-4, atol=1e-4)
    for share in (0.0, 0.37, 1.0):
        densities = position.log_density(torch.full((N, 1), share))
        expected = (1 - share) * start + share * joint
        constants = densities - expected
        torch.testing.assert_close(
            constants, constants[:, :1].expand_as(constants), atol=1e-3, rtol=0
        )


def test_slopes_are_the_derivative_of_the_density(path):
    u = torch.randn(N, CHAINS, LATENTS).requires_grad_()
    beta = torch.tensor([[0.2], [0.9], [0.5]])
    model, x = path.likelihood.model.model, path.likelihood.x
    z = path.z(u)
    joint = model.prior().log_prob(z) + model.decode(z).log_prob(x)
    start = -0.5 * u.square().sum(dim=2)
    (expected,) = torch.autograd.grad(((1 - beta) * start + beta * joint).sum(), u)
    position = path.evaluate(u.detach())
    found = path.slope(u.detach(), position.gain_gradient, beta)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(path.gain_gradient(u.detach()), position.gain_gradient)


def test_chosen_and_taken_chains_keep_all_that_belongs_to_them(path):
    first, second = path.draw(CHAINS), path.draw(CHAINS)
    chosen = torch.rand(N, CHAINS) < 0.5
    mixed = first.where(chosen, second)
    torch.testing.assert_close(path.evaluate(mixed.u), mixed)
    taken = first.take(torch.randint(CHAINS, (N, CHAINS)))
    torch.testing.assert_close(path.evaluate(taken.u), taken)


def test_draws_follow_the_start():
    model = LinearGaussian(5, LATENTS)
    path = path_of(model, model.sample(N), from_prior=False)
    z = path.z(path.draw(20_000).u)
    covariance = path.start.factor @ path.start.factor.mT
    torch.testing.assert_close(z.mean(dim=1), path.start.mean, atol=0.1, rtol=0)
    found = torch.stack([torch.cov(one.T) for one in z])
    torch.testing.assert_close(found, covariance, rtol=0.05, atol=0.1)


def test_only_a_nan_where_the_start_has_mass_is_the_decoders_fault():
    model = LinearGaussian(5, LATENTS)
    whole = model.decode
    model.decode = lambda z: whole(torch.where(z[..., :1] > 2, torch.nan, z))
    path = path_of(model, model.sample(N), from_prior=False)
    u = path.u(torch.zeros(N, CHAINS, LATENTS))
    path.evaluate(u)
    assert path.faults == 0
    path.evaluate(torch.full_like(u, 1e30))
    assert path.faults == 0
    path.evaluate(path.u(torch.full((N, CHAINS, LATENTS), 3.0)))
    assert path.faults == N * CHAINS


def test_far_from_a_narrow_start_the_joint_density_keeps_its_precision():
    # In float32 the start's density, near 5e9 nats, would be off by hundreds of them.
    model = LinearGaussian(6, LATENTS)
    x = model.sample(N)
    narrow = Gaussian(torch.zeros(N, LATENTS), 1e-5 * torch.eye(LATENTS).expand(N, -1, -1))
    path = Path(Likelihood(StandardLatents(model), x), narrow, from_prior=False)
    z = torch.randn(N, CHAINS, LATENTS)
    position = path.evaluate(path.u(z))
    joint = model.prior().log_prob(z) + model.decode(z).log_prob(x.unsqueeze(1))
    constant = 0.5 * LATENTS * math.log(2 * math.pi) + LATENTS * math.log(1e-5)
    found = position.log_density(torch.ones(N, 1)).float() - constant
    torch.testing.assert_close(found, joint, atol=0.05, rtol=1e-3)
