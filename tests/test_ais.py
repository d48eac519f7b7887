import math

import pytest
import torch
from annealed_runs import CHAINS, LEAPFROG, annealed, error_of, prepared, scaled_steps
from latent_models import (
    BinaryImages,
    CountsDecodes,
    EncodedLinearGaussian,
    LinearGaussian,
    integrated,
)
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.data import load_dataset
from benchmark.estimators.ais import Chains, anneal, anneal_backwards, log_mean_exp
from benchmark.estimators.bdmc import Settings, annealed_lower_bound
from benchmark.training_log import TrainingLog
from zoo.vae import VAE


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("latents", [2, 10])
@pytest.mark.parametrize("start", ["prior", "encoder", "posterior"])
@pytest.mark.parametrize("name", ["adaptive", "sigmoid"])
def test_the_bound_of_a_linear_model_is_its_closed_form(latents, start, name):
    model = EncodedLinearGaussian(64, latents)
    x = model.sample(50)
    off = annealed(model, x, 400, start=start, name=name).lower_bound - model.exact(x)
    assert off.mean().abs() < 0.1
    assert off.mean() < 3 * error_of(off)


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_the_bound_of_a_curved_model_is_the_numerical_integral(start):
    model = BinaryImages()
    x = model.sample(25)
    found = annealed(model, x, 300, chains=32, start=start)
    off = found.lower_bound - integrated(model, x)
    assert off.mean().abs() < 0.05
    assert (off.abs() < 5 * found.standard_error + 0.01).all()


@pytest.fixture(scope="module")
def vae():
    data = load_dataset("digits")
    torch.manual_seed(0)
    model = VAE(data.spec, latents=2, width=16)
    with torch.enable_grad():
        model.fit(data.train, data.validation, 0.3, TrainingLog(None, "32-true"))
    x = data.test[:15]
    return model.eval(), x, integrated(model, x, reach=5.0, points=401)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["prior", "encoder", "posterior"])
def test_the_bound_of_a_vae_of_digits_is_the_numerical_integral(vae, start):
    model, x, exact = vae
    off = annealed(model, x, 500, chains=32, start=start).lower_bound - exact
    assert off.mean().abs() < 0.05
    assert off.mean() < 3 * error_of(off)


def test_inner_gradients_in_half_precision_give_the_same_bound():
    model = BinaryImages()
    x = model.sample(40)
    half = annealed(model, x, 200, dtype=torch.bfloat16, chains=32)
    assert half.log_weights.dtype == torch.float64
    off = half.lower_bound - integrated(model, x)
    assert (off.abs() < 5 * half.standard_error + 0.01).all()
    assert off.mean().abs() < 0.05


class Waits(TorchDispatchMode):
    """Counts what would make a processor wait for its GPU: reading a number off a tensor."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in (
            torch.ops.aten._local_scalar_dense,
            torch.ops.aten.nonzero,
            torch.ops.aten.equal,
        ):
            self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("backwards", [False, True])
def test_nothing_waits_between_temperatures(backwards):
    model = LinearGaussian(8, 2)
    z = torch.randn(5, 2)
    tuning, betas = prepared(model, model.decode(z).sample(), 30)
    seen = []
    with Waits() as waits:

        def progress(done, total):
            seen.append((done, total, waits.count))

        if backwards:
            anneal_backwards(tuning, betas, z, CHAINS, LEAPFROG, progress)
        else:
            anneal(tuning, betas, CHAINS, LEAPFROG, progress)
    assert seen == [(done, 30, 0) for done in range(1, 31)]
    assert waits.count > 0  # the faults are counted at the end, so waiting is seen


@pytest.mark.parametrize(("temperatures", "leapfrog"), [(2, 5), (20, 3)])
def test_a_temperature_costs_as_many_evaluations_as_leapfrog_steps(temperatures, leapfrog):
    model = CountsDecodes(LinearGaussian(8, 2))
    tuning, betas = prepared(model, model.model.sample(5), temperatures)
    model.calls = 0
    anneal(tuning, betas, CHAINS, leapfrog)
    assert model.calls == 1 + (temperatures - 1) * leapfrog  # one where the chains begin


def test_a_run_repeats_under_its_seed_and_has_other_draws_under_another():
    model = BinaryImages()
    x = model.sample(5)
    weights = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        weights.append(annealed(model, x, 20).log_weights)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_statistics_of_chains_are_those_of_their_formulas():
    log_weights = torch.randn(3, 8, dtype=torch.float64) * 2 - 500
    chains = Chains(log_weights, *torch.zeros(3, 3))
    weights = (log_weights + 500).exp()
    torch.testing.assert_close(chains.lower_bound, weights.mean(dim=1).log() - 500)
    torch.testing.assert_close(chains.upper_bound, -(1 / weights).mean(dim=1).log() - 500)
    effective = weights.sum(dim=1).square() / weights.square().sum(dim=1)
    torch.testing.assert_close(chains.effective_chains, effective)
    relative = weights.std(dim=1) / weights.mean(dim=1) / math.sqrt(8)
    torch.testing.assert_close(chains.standard_error, relative)
    assert log_mean_exp(torch.full((2, 4), -1e5)).tolist() == [-1e5, -1e5]


def test_acceptance_and_energy_errors_are_means_over_moves_that_were_not_lost():
    model = LinearGaussian(30, 4)
    tuning, betas = prepared(model, model.sample(5), 40)
    good = anneal(tuning, betas, CHAINS, LEAPFROG)
    assert (good.divergences < 0.1).all()
    assert (good.acceptance > 0.4).all()
    assert (good.energy_error > 0).all()
    assert (good.energy_error < 20).all()
    lost = anneal(scaled_steps(tuning, 1e6), betas, CHAINS, LEAPFROG)
    assert (lost.divergences > 0.9).all()
    assert (lost.acceptance < 0.1).all()
    assert lost.energy_error.isfinite().all()


class Faulty:
    """A linear model whose decoder gives something else where the first latent is large."""

    def __init__(self, bad):
        self.model, self.bad = LinearGaussian(6, 2), bad
        self.prior, self.sample = self.model.prior, self.model.sample

    def decode(self, z):
        distribution = self.model.decode(z)
        loc = distribution.base_dist.loc
        distribution.base_dist.loc = torch.where(z[..., :1] > 0.5, self.bad, loc)
        return distribution


def test_a_decoder_that_gives_nan_is_named_as_the_cause():
    model = Faulty(math.nan)
    with pytest.raises(ValueError, match=r"decode\(z\) gave NaN at \d+ places where the prior"):
        annealed_lower_bound(model, model.sample(5), Settings(temperatures=20))


def test_an_example_outside_the_support_is_named_as_the_cause():
    model = LinearGaussian(6, 2)
    x = model.sample(5)
    x[3] = math.inf
    with pytest.raises(ValueError, match=r"-inf at every z tried for 1 of 5 examples.*support"):
        annealed_lower_bound(model, x, Settings(temperatures=20))


def test_one_chain_is_refused():
    model = LinearGaussian(6, 2)
    x = model.sample(5)
    with pytest.raises(ValueError, match=r"chains must be at least 2.*got 1"):
        annealed_lower_bound(model, x, Settings(chains=1))
    tuning, betas = prepared(model, x, 5)
    with pytest.raises(ValueError, match="chains must be at least 2"):
        anneal(tuning, betas, 1, LEAPFROG)
    with pytest.raises(ValueError, match="chains must be at least 2"):
        anneal_backwards(tuning, betas, torch.zeros(5, 2), 1, LEAPFROG)


def test_a_support_with_holes_is_no_fault():
    # Half of all z cannot have made x: their weight is zero, and log p(x) is what the rest gives.
    model = Faulty(math.inf)
    x = model.sample(40)
    x = x[model.model.posterior(x).loc[:, 0] < -0.5]
    assert len(x) > 3
    found = annealed_lower_bound(model, x, Settings(temperatures=400, chains=32))
    assert (found.lower_bound - model.model.exact(x)).abs().max() < 0.5
