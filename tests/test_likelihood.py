import math

import pytest
import torch
from torch.distributions import Independent, Normal

from benchmark.metrics import likelihood
from benchmark.metrics.base import Annealing, Cost, Evidence, NotApplicable
from benchmark.spec import DataSpec
from zoo.ppca import PPCA, DequantisedPPCA

PLANE = DataSpec((3,))
IMAGES = DataSpec((1, 1, 3), levels=4)
ENCODED = Annealing(examples=30, train_examples=20, temperatures=50, start="encoder")
FROM_PRIOR = Annealing(examples=30, temperatures=20, start="prior")


def evidence(model, test, spec=PLANE, **changes):
    empty = test[:0]
    cost = Cost(None, None, None, 0, None)
    return Evidence(spec, model, test, empty, empty, "no network", None, cost, 0, **changes)


class Latent:
    """PPCA without its exact density: what a decoder with an encoder can do."""

    def __init__(self, model):
        self.prior, self.decode, self.encode = model.prior, model.decode, model.encode


@pytest.fixture
def ppca():
    x = torch.randn(400, 3) @ torch.randn(3, 3)
    model = PPCA(PLANE)
    model.fit(x, x, 1.0, None)
    return model


def test_an_exact_density_gives_an_exact_value_whatever_the_batches(ppca):
    x = ppca.sample(101)
    found = likelihood.nll(evidence(ppca, x, batch_size=17))
    assert found.meaning == "exact"
    assert found.n == 101
    assert found.value == pytest.approx(-ppca.log_prob(x).mean().item())
    assert found.standard_error == pytest.approx(ppca.log_prob(x).std().item() / math.sqrt(101))


def test_a_latent_model_has_a_sandwich_and_bounds_below_it(ppca):
    # With the true posterior as the proposal every importance-weighted bound is exact.
    x = ppca.sample(50).double()
    exact = ppca.log_prob(x)
    measured = evidence(Latent(ppca), x, annealing=ENCODED)
    found = likelihood.nll(measured)
    assert found.meaning == "sandwich"
    assert found.n == 30
    assert found.value == pytest.approx(-exact[:30].mean().item(), abs=0.02)
    assert found.per_example == pytest.approx(-exact[:30].numpy(), abs=0.1)
    for bound in (likelihood.elbo, likelihood.iwae_50, likelihood.iwae):
        of_bound = bound(measured)
        assert of_bound.meaning == "lower bound"
        assert of_bound.value == pytest.approx(exact.mean().item())


def test_bits_per_dim_are_nats_over_dims_and_log_two():
    x = torch.randint(0, 4, (60, 1, 1, 3), dtype=torch.uint8)
    model = DequantisedPPCA(IMAGES)
    model.fit(x, x, 1.0, None)
    bits = likelihood.bits_per_dim(evidence(model, x, IMAGES))
    nats = likelihood.nll(evidence(model, x, IMAGES))
    assert bits.meaning == "upper bound"
    assert bits.value == pytest.approx(nats.value / (3 * math.log(2)))


class Generated:
    """A generator of images, whose noise is fitted on the validation split."""

    def __init__(self, weight):
        self.weight = weight

    def prior(self):
        return Independent(Normal(torch.zeros(2), 1.0), 1)

    def generate(self, z):
        return (z @ self.weight + 1.5).unflatten(-1, IMAGES.shape)


def test_bits_per_dim_of_a_generator_are_those_of_its_annealed_bound():
    model = Generated(torch.randn(2, 3))
    x = torch.randint(0, 4, (60, 1, 1, 3), dtype=torch.uint8)
    measured = evidence(model, x, IMAGES, annealing=FROM_PRIOR, validation=x[:40])
    bits, nats = likelihood.bits_per_dim(measured), likelihood.nll(measured)
    assert bits.meaning == nats.meaning == "sandwich"
    assert bits.value == pytest.approx(nats.value / (3 * math.log(2)))
    assert bits.value > 0


def test_the_gap_between_splits_is_the_difference_of_their_likelihoods(ppca):
    test, train = ppca.sample(80), 0.3 * ppca.sample(90)
    found = likelihood.train_test_gap(evidence(ppca, test, train=train))
    exact = ppca.log_prob(train[:80]), ppca.log_prob(test)  # as many as of the test split
    assert found.value == pytest.approx((exact[0].mean() - exact[1].mean()).item())
    error = math.hypot(*(part.std().item() / math.sqrt(len(part)) for part in exact))
    assert found.standard_error == pytest.approx(error)
    assert found.meaning == "exact"
    assert found.value > 0  # training examples lie where the density is greatest

    annealed = evidence(Latent(ppca), test, train=train, annealing=ENCODED)
    close = likelihood.train_test_gap(annealed)
    expected = (exact[0][:20].mean() - exact[1][:30].mean()).item()
    assert close.value == pytest.approx(expected, abs=0.05)
    assert close.meaning == "estimate"


def test_what_does_not_apply_says_why(ppca):
    x = ppca.sample(10)
    with pytest.raises(NotApplicable, match="samples only"):
        likelihood.nll(evidence(object(), x))
    with pytest.raises(NotApplicable, match="log p\\(x\\) is exact"):
        likelihood.iwae(evidence(ppca, x))
    with pytest.raises(NotApplicable, match="are continuous: a density has no bits"):
        likelihood.bits_per_dim(evidence(ppca, x))
    with pytest.raises(NotApplicable, match="no training split"):
        likelihood.train_test_gap(evidence(ppca, x))
    without_encoder = Latent(ppca)
    del without_encoder.encode
    with pytest.raises(NotApplicable, match="no encoder"):
        likelihood.iwae(evidence(without_encoder, x))


class Broken:
    def __init__(self, values):
        self.values = values

    def log_prob(self, x):
        return self.values


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (torch.tensor([0.0, -math.inf, math.nan]), "log_prob is not finite for 2 of 3"),
        (torch.zeros(3, 1), r"log_prob gave \[3, 1\] values for 3 examples"),
    ],
)
def test_a_likelihood_that_is_no_number_fails_with_its_count(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        likelihood.nll(evidence(Broken(values), torch.zeros(3, 3)))
