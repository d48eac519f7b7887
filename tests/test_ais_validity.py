"""What holds for any temperatures and steps, tested with few temperatures and with bad steps."""

import math

import pytest
import torch
from annealed_runs import CHAINS, LEAPFROG, annealed, error_of, prepared, scaled_steps
from latent_models import (
    EVERY_IMAGE,
    EncodedLinearGaussian,
    LinearGaussian,
    TinyImages,
    integrated,
)

from benchmark.estimators import hmc
from benchmark.estimators.ais import anneal, anneal_backwards


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("temperatures", "factor"), [(1, 1.0), (2, 20.0), (5, 1.0), (5, 4.0)])
def test_weights_of_all_images_sum_to_one_however_badly_annealed(temperatures, factor):
    model = TinyImages(gain=3.0)
    tuning, betas = prepared(model, EVERY_IMAGE, temperatures)
    chains = anneal(scaled_steps(tuning, factor), betas, 2_000, LEAPFROG)
    weights = chains.log_weights.exp()
    expected = integrated(model, EVERY_IMAGE).exp()
    assert expected.sum().item() == pytest.approx(1, abs=1e-6)
    error = weights.var(dim=1).sum().sqrt().item() / math.sqrt(2_000)
    assert error < 0.02
    assert weights.mean(dim=1).sum().item() == pytest.approx(1, abs=4 * error)
    deviation = (weights.mean(dim=1) - expected) / (weights.std(dim=1) / math.sqrt(2_000))
    assert deviation.abs().max() < 5
    # A wrong test or a wrong weight shifts many images a little.
    assert deviation.square().mean() < 1.6


def test_inverse_weights_of_reverse_chains_are_unbiased_too():
    model = TinyImages(gain=1.5)
    z = torch.randn(5_000, 2)
    x = model.decode(z).sample()
    tuning, betas = prepared(model, x, 4)
    backward = anneal_backwards(scaled_steps(tuning, 2.0), betas, z, 2, LEAPFROG)
    ratio = (integrated_masses(model, x).unsqueeze(1) - backward.log_weights).exp().mean(dim=1)
    assert ratio.mean().item() == pytest.approx(1, abs=4 * error_of(ratio))
    assert error_of(ratio) < 0.08


def integrated_masses(model, x):
    """[n] log p(x) of tiny images, looked up among all of them."""
    index = (x.flatten(1) * torch.tensor([27, 9, 3, 1])).sum(dim=1)
    return integrated(model, EVERY_IMAGE)[index]


@pytest.mark.parametrize("start", ["prior", "encoder"])
@pytest.mark.parametrize(("temperatures", "factor"), [(2, 1.0), (100, 20.0), (100, 200.0)])
def test_bad_settings_lower_the_bound_and_never_raise_it(start, temperatures, factor):
    model = EncodedLinearGaussian(30, 4)
    x = model.sample(100)
    tuning, betas = prepared(model, x, temperatures, start)
    good = annealed(model, x, 100, start=start).lower_bound - model.exact(x)
    bad = anneal(scaled_steps(tuning, factor), betas, CHAINS, LEAPFROG)
    off = bad.lower_bound - model.exact(x)
    assert off.mean() < 3 * error_of(off)
    assert off.mean() < good.mean() + 3 * error_of(off)
    if start == "prior":
        assert off.mean() < -1
    if factor == 200:
        assert bad.acceptance.mean() < 0.1


def test_without_the_metropolis_test_the_bound_is_none(monkeypatch):
    model = LinearGaussian(30, 4)
    x = model.sample(100)
    tuning, betas = prepared(model, x, 100)
    monkeypatch.setattr(hmc.torch, "rand_like", torch.zeros_like)
    found = anneal(scaled_steps(tuning, 1.1), betas, CHAINS, LEAPFROG)
    off = found.lower_bound - model.exact(x)
    assert off.mean().abs() > 0.3


def test_a_wrong_gradient_leaves_a_bound_that_is_less_tight():
    model = LinearGaussian(30, 4)
    x = model.sample(100)
    tuning, betas = prepared(model, x, 60)
    right = anneal(tuning, betas, CHAINS, LEAPFROG).lower_bound - model.exact(x)
    likelihood = tuning.path.likelihood
    gradient, both = likelihood.gradient, likelihood.value_and_gradient
    likelihood.gradient = lambda z: -0.5 * gradient(z)
    likelihood.value_and_gradient = lambda z: (both(z)[0], -0.5 * both(z)[1])
    wrong = anneal(tuning, betas, CHAINS, LEAPFROG).lower_bound - model.exact(x)
    assert wrong.mean() < right.mean() - 0.5
    assert wrong.mean() < 3 * error_of(wrong)
