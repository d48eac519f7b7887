import math

import pytest
import torch

from benchmark.metrics import likelihood
from benchmark.metrics.base import Cost, Evidence, NotApplicable
from benchmark.spec import DataSpec
from zoo.ppca import PPCA, DequantisedPPCA

PLANE = DataSpec((3,))
IMAGES = DataSpec((1, 1, 3), levels=4)


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


def test_a_latent_model_with_the_true_posterior_has_a_tight_upper_bound(ppca):
    x = ppca.sample(50).double()
    found = likelihood.nll(evidence(Latent(ppca), x))
    assert found.meaning == "upper bound"
    assert found.value == pytest.approx(-ppca.log_prob(x).mean().item())
    for bound in (likelihood.elbo, likelihood.iwae_50, likelihood.iwae):
        measured = bound(evidence(Latent(ppca), x))
        assert measured.meaning == "lower bound"
        assert measured.value == pytest.approx(-found.value)


def test_bits_per_dim_are_nats_over_dims_and_log_two():
    x = torch.randint(0, 4, (60, 1, 1, 3), dtype=torch.uint8)
    model = DequantisedPPCA(IMAGES)
    model.fit(x, x, 1.0, None)
    bits = likelihood.bits_per_dim(evidence(model, x, IMAGES))
    nats = likelihood.nll(evidence(model, x, IMAGES))
    assert bits.meaning == "upper bound"
    assert bits.value == pytest.approx(nats.value / (3 * math.log(2)))


def test_what_does_not_apply_says_why(ppca):
    x = ppca.sample(10)
    with pytest.raises(NotApplicable, match="samples only"):
        likelihood.nll(evidence(object(), x))
    with pytest.raises(NotApplicable, match="log p\\(x\\) is exact"):
        likelihood.iwae(evidence(ppca, x))
    with pytest.raises(NotApplicable, match="points are continuous"):
        likelihood.bits_per_dim(evidence(ppca, x))


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
