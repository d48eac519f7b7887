import math

import pytest
import torch
from latent_models import EncodedLinearGaussian, LinearGaussian
from torch.distributions import (
    Beta,
    Categorical,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)

from benchmark.estimators.bdmc import Settings, annealed_lower_bound
from benchmark.estimators.latents import Gaussian, StandardLatents, gaussian_of

FACTOR = torch.tensor([[0.7, 0.0], [-1.1, 0.4]])
PRIORS = {
    "standard": Independent(Normal(torch.zeros(2), 1.0), 1),
    "shifted": Independent(Normal(torch.tensor([1.5, -0.3]), torch.tensor([0.2, 3.0])), 1),
    "correlated": MultivariateNormal(torch.tensor([-0.8, 2.0]), scale_tril=FACTOR),
    "uniform": Independent(Uniform(torch.tensor([-1.0, 0.5]), torch.tensor([2.0, 0.9])), 1),
    "laplace": Independent(Laplace(torch.tensor([0.3, -1.0]), torch.tensor([0.6, 1.7])), 1),
}


class WithPrior:
    def __init__(self, prior):
        self.prior = lambda: prior

    def decode(self, z):
        """Curved in both latents, so that no prior can be mistaken for another."""
        first, second = z.unbind(dim=-1)
        loc = torch.stack([first - 0.3 * second.square(), second.sin() + 0.5 * first, first], -1)
        return Independent(Normal(loc, torch.full_like(loc, 0.4), validate_args=False), 1)


def log_volume(function, u):
    """log |det| of the Jacobian of a map of single points, at each of u [n, d]."""
    jacobians = torch.stack([torch.autograd.functional.jacobian(function, one) for one in u])
    return jacobians.det().abs().log()


@pytest.mark.parametrize("name", PRIORS)
def test_the_standard_normal_is_carried_to_the_prior(name):
    latents = StandardLatents(WithPrior(PRIORS[name]))
    u = torch.randn(50, 2)
    found = PRIORS[name].log_prob(latents.z(u)) + log_volume(latents.z, u)
    expected = Normal(0.0, 1.0).log_prob(u).sum(dim=1)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("name", PRIORS)
def test_any_prior_gives_the_evidence_of_numerical_integration(name):
    prior = PRIORS[name]
    model = WithPrior(prior)
    x = model.decode(prior.sample((20,))).sample()
    found = annealed_lower_bound(model, x, Settings(temperatures=200, chains=64))

    # Midpoints of equal shares of each coordinate, which no quantile of `StandardLatents` enters.
    draws = prior.sample((40_000,))
    low, high = draws.amin(dim=0) - 1, draws.amax(dim=0) + 1
    share = (torch.arange(300) + 0.5) / 300
    z = torch.cartesian_prod(*(low + (high - low) * share.unsqueeze(1)).T)
    inside = torch.ones(len(z), dtype=torch.bool)
    if name == "uniform":
        inside = ((z > prior.base_dist.low) & (z < prior.base_dist.high)).all(dim=1)
    z = z[inside]
    log_area = math.log(((high - low) / 300).prod())
    expected = torch.stack(
        [
            (prior.log_prob(z) + model.decode(z).log_prob(one)).double().logsumexp(0) + log_area
            for one in x
        ]
    )
    error = found.lower_bound - expected
    assert (error.abs() < 4 * found.standard_error + 0.005).all()
    assert error.mean().abs() < 0.06


@pytest.mark.parametrize("name", ["standard", "shifted", "correlated"])
def test_a_normal_proposal_is_carried_along(name):
    latents = StandardLatents(WithPrior(PRIORS[name]))
    proposal = MultivariateNormal(torch.randn(4, 2), scale_tril=FACTOR * torch.rand(4, 1, 1))
    found = latents.standardised(proposal)
    u = torch.randn(4, 2)
    there = MultivariateNormal(found.mean, covariance_matrix=found.factor @ found.factor.mT)
    expected = proposal.log_prob(latents.z(u)) + log_volume(latents.z, u)
    torch.testing.assert_close(there.log_prob(u), expected, atol=1e-3, rtol=1e-4)
    expected_volume = torch.linalg.det(found.factor).abs().log()
    torch.testing.assert_close(found.log_volume, expected_volume)


def test_what_is_not_normal_is_no_gaussian():
    low_rank = LowRankMultivariateNormal(torch.zeros(1, 2), torch.ones(1, 2, 1), torch.ones(1, 2))
    assert gaussian_of(PRIORS["laplace"]) is None
    assert gaussian_of(low_rank) is None
    assert StandardLatents(WithPrior(PRIORS["uniform"])).standardised(PRIORS["shifted"]) is None


def test_a_gaussian_without_batch_is_one_of_a_batch_of_one():
    found = gaussian_of(PRIORS["shifted"])
    assert found.mean.shape == (1, 2)
    torch.testing.assert_close(found.factor, torch.diag(torch.tensor([0.2, 3.0]))[None])
    standard = Gaussian.standard(3, 2, torch.device("cpu"))
    torch.testing.assert_close(standard.log_volume, torch.zeros(3))


@pytest.mark.parametrize(
    ("prior", "complaint"),
    [
        (Normal(0.0, 1.0), r"event shape \[latents\] with at least one latent, got \[\]"),
        (Independent(Normal(torch.zeros(0), 1.0), 1), r"at least one latent, got \[0\]"),
        (Independent(Normal(torch.zeros(2, 3), 1.0), 2), r"got \[2, 3\]"),
        (Independent(StudentT(torch.ones(2)), 1), r"Independent: .* inverse distribution"),
        (Independent(Categorical(torch.ones(2, 3)), 1), "inverse distribution"),
        (Independent(Beta(torch.ones(2), 2.0), 1), "inverse distribution"),
        (LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2)), "LowRank"),
    ],
)
def test_a_prior_that_cannot_be_annealed_from_is_refused(prior, complaint):
    with pytest.raises(ValueError, match=complaint):
        StandardLatents(WithPrior(prior))


@pytest.mark.parametrize("start", ["prior", "encoder", "posterior"])
def test_a_model_in_double_precision_is_annealed_all_the_same(start):
    prior = MultivariateNormal(*(part.double() for part in (torch.ones(2), FACTOR @ FACTOR.T)))
    model = EncodedLinearGaussian(12, 2, prior=prior)
    encode = model.encode
    model.encode = lambda x: MultivariateNormal(
        encode(x).loc.double(), scale_tril=encode(x).scale_tril.double()
    )
    x = model.sample(30)
    assert x.dtype == torch.float64
    found = annealed_lower_bound(model, x, Settings(temperatures=200, start=start)).lower_bound
    torch.testing.assert_close(found.mean(), model.exact(x).mean(), atol=0.1, rtol=0)


def test_the_evidence_of_a_linear_model_with_a_correlated_prior_is_its_closed_form():
    model = LinearGaussian(12, 2, prior=PRIORS["correlated"])
    x = model.sample(30)
    found = annealed_lower_bound(model, x, Settings(temperatures=200)).lower_bound
    torch.testing.assert_close(found.mean(), model.exact(x).mean(), atol=0.1, rtol=0)
