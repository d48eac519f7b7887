import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from latent_models import EncodedLinearGaussian, LinearGaussian

from benchmark.metrics import METRICS, annealing, latent, likelihood
from benchmark.metrics.base import Annealing, Cost, Evidence, NotApplicable
from benchmark.run import measure
from benchmark.spec import DataSpec
from benchmark.store import Question
from zoo.gan import GAN
from zoo.ppca import PPCA

POINTS = DataSpec((20,))
SETTINGS = Annealing(examples=40, train_examples=30, simulated=50, temperatures=100, start="prior")
NAMED = {metric.name: metric for metric in METRICS}


def evidence(model, test, spec=POINTS, annealing=SETTINGS, **changes):
    cost = Cost(None, None, None, 0, None)
    splits = {"train": test, "validation": test} | changes
    empty = test[:0]
    return Evidence(
        spec, model, test, empty, empty, "none", None, cost, 0, annealing=annealing, **splits
    )


@pytest.fixture
def model():
    return EncodedLinearGaussian(20, 3)


def test_values_are_those_of_the_closed_form_for_the_first_examples(model):
    x, train = model.sample(60), 0.5 * model.sample(60)
    exact = model.exact(x[:40])
    measured = evidence(model, x, train=train)
    found = annealing.ais(measured)
    assert found.meaning == "lower bound"
    assert found.n == 40
    assert found.value == pytest.approx(exact.mean().item(), abs=0.1)
    assert found.standard_error == pytest.approx(exact.std().item() / 40**0.5, rel=0.1)
    assert found.per_example.dtype == np.float32
    assert found.per_example == pytest.approx(exact.numpy(), abs=0.8)
    nll = likelihood.nll(measured)
    assert nll.meaning == "sandwich"
    assert nll.per_example == pytest.approx(-found.per_example)
    on_train = annealing.ais_train(measured).value
    assert on_train == pytest.approx(model.exact(train[:30]).mean().item(), abs=0.1)
    gap = likelihood.train_test_gap(measured)
    assert gap.value == pytest.approx(on_train - found.value)
    assert gap.n == 30


def test_the_gap_is_small_and_its_details_are_the_curve(model):
    found = annealing.bdmc_gap(evidence(model, model.sample(60)))
    assert found.meaning == "estimate"
    assert found.n == 50
    assert found.value == pytest.approx(0, abs=0.2)
    details = json.loads(json.dumps(found.details))
    curve = details["curve"]
    assert curve["temperatures"] == [7, 13, 25, 50, 100]
    assert {len(column) for column in curve.values()} == {5}
    assert curve["upper"][-1] - curve["lower"][-1] == pytest.approx(found.value)
    assert curve["upper"][0] - curve["lower"][0] > found.value + 0.5
    entropy = 0.5 * torch.logdet(
        2 * math.pi * math.e * (model.weight @ model.weight.T + 0.1 * torch.eye(20))
    )
    # Of data drawn from the model log p(x) is minus the entropy, give or take the draw: its
    # variance is half the dimension.
    draw = math.sqrt(20 / 2 / found.n)
    assert curve["lower"][-1] == pytest.approx(-entropy.item(), abs=4 * draw)
    assert curve["lower_error"][-1] < curve["lower_error"][0] < draw
    assert details["start"] == "prior"
    assert 0.3 < details["acceptance"] < 1
    assert 0 <= details["divergences"] < 0.1
    assert 0 < details["energy_error"] < 20
    histogram = details["weight_histogram"]
    assert sum(histogram["counts"]) == 50 * 16
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    # The log mean weight lies above most log weights, and near the middle of them.
    middle = np.average(histogram["edges"][:-1], weights=histogram["counts"])
    assert -1 < middle < 0.1


def test_effective_chains_rise_with_the_temperatures(model):
    x = model.sample(40)
    few, many = (
        annealing.effective_chains(evidence(model, x, annealing=replace(SETTINGS, temperatures=t)))
        for t in (5, 200)
    )
    assert 1 <= few.value < many.value - 3 < 13
    exact = replace(SETTINGS, start="encoder", temperatures=200)
    assert annealing.effective_chains(evidence(model, x, annealing=exact)).value > 15


def test_an_open_start_is_chosen_once_and_told():
    model, quick = EncodedLinearGaussian(20, 8), replace(SETTINGS, start="auto", temperatures=10)
    measured = evidence(model, model.sample(150), annealing=quick)
    details = annealing.bdmc_gap(measured).details
    assert details["start"] in ("encoder", "posterior")
    assert details["start"] == measured.shared["start"]
    without = replace(measured, validation=None, shared={})
    with pytest.raises(NotApplicable, match="no validation split to choose a start"):
        annealing.ais(without)


def test_work_that_metrics_share_is_done_once(model, monkeypatch):
    calls = []
    for name in ("annealed_lower_bound", "sandwiches", "best_start"):
        whole = getattr(annealing, name)

        def counted(*arguments, name=name, whole=whole):
            calls.append(name)
            return whole(*arguments)

        monkeypatch.setattr(annealing, name, counted)
    quick = replace(SETTINGS, temperatures=10, start="auto")
    measured = evidence(model, model.sample(60), annealing=quick)
    for measure_one in (
        likelihood.nll,
        likelihood.train_test_gap,
        annealing.ais,
        annealing.ais_train,
        annealing.effective_chains,
        annealing.bdmc_gap,
        annealing.bdmc_gap,
    ):
        measure_one(measured)
    assert sorted(calls) == ["annealed_lower_bound"] * 2 + ["best_start", "sandwiches"]


@pytest.mark.parametrize("name", ["ais", "bdmc_gap", "ais_ess", "nll"])
def test_values_repeat_under_the_seed_in_any_order(model, name):
    x = model.sample(60)
    quick = replace(SETTINGS, temperatures=10)
    first = NAMED[name].measure(evidence(model, x, annealing=quick)).value
    measured = evidence(model, x, annealing=quick)
    annealing.ais_train(measured)
    torch.randn(7)
    assert NAMED[name].measure(measured).value == first
    other = replace(measured, seed=1, shared={})
    assert NAMED[name].measure(other).value != first


IMAGES = DataSpec((1, 2, 2), levels=17)


def gan(spec):
    """A generator as it is built: it has learnt nothing but where the data lie."""
    return GAN(spec).eval()


@pytest.mark.parametrize("spec", [IMAGES, POINTS], ids=["images", "points"])
def test_a_generator_gets_noise_that_is_fitted_once_and_told(spec):
    generator = gan(spec)
    with torch.no_grad():
        x = generator.sample(60)
        x = x if spec.is_image else x + 0.3 * torch.randn_like(x)
    quick = replace(SETTINGS, examples=10, simulated=10, temperatures=10)
    measured = evidence(generator, x, spec, quick)
    sigma = latent.observation_sigma(measured)
    assert sigma.value > 0
    if not spec.is_image:
        assert sigma.value == pytest.approx(0.3, abs=0.15)
    assert likelihood.nll(measured).meaning == "sandwich"
    assert math.isfinite(annealing.bdmc_gap(measured).value)
    again = latent.observation_sigma(evidence(generator, x, spec, quick))
    assert again.value == sigma.value == measured.shared["sigma"]
    with pytest.raises(NotApplicable, match="no validation split to fit sigma"):
        latent.observation_sigma(replace(measured, validation=None, shared={}))


def test_what_does_not_apply_says_why(model):
    x = model.sample(60)
    exact = PPCA(POINTS)
    exact.fit(x, x, 1.0, None)
    with pytest.raises(NotApplicable, match="exact"):
        annealing.bdmc_gap(evidence(exact, x))
    with pytest.raises(NotApplicable, match="observation model of its own"):
        latent.observation_sigma(evidence(model, x))
    with pytest.raises(NotApplicable, match="no latent variables"):
        annealing.ais(evidence(object(), x))
    with pytest.raises(NotApplicable, match="no training split"):
        annealing.ais_train(evidence(model, x, train=None))


# What goes wrong in a model becomes a stored reason, and other metrics are answered.


class BrokenWhere:
    """A linear model, one of whose parts is at fault."""

    def __init__(self, fault):
        self.inner = LinearGaussian(20, 0 if fault == "no latents" else 3)
        self.fault, self.prior = fault, self.inner.prior

    def decode(self, z):
        decoded = self.inner.decode(z)
        if self.fault == "nan":
            base = decoded.base_dist
            base.loc = torch.where(z[..., :1] > 0.3, torch.nan, base.loc)
        return decoded


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nan", r"ValueError: decode(z) gave NaN at"),
        ("no latents", "ValueError: prior() must have event shape [latents] with at least one"),
        ("far", "ValueError: log p(x given z) is -inf at every z tried for 1 of 40 examples"),
    ],
)
def test_a_fault_becomes_a_stored_reason_and_harms_no_other_metric(fault, reason):
    model = BrokenWhere(fault)
    x = torch.randn(60, 20)
    if fault == "far":
        x[7] = 1e30
    quick = replace(SETTINGS, temperatures=10)
    measured = replace(evidence(model, x, annealing=quick), real=x, generated=torch.randn(60, 20))
    results = {
        name: measure(NAMED[name], Question(name, 1, {}), measured)
        for name in ("nll", "ais", "ais_ess", "bdmc_gap", "mmd", "wasserstein")
    }
    for name in ("nll", "ais", "ais_ess"):
        assert results[name].status == "failed"
        assert results[name].reason.startswith(reason)
    # Data of the model's own are never outside its support.
    assert results["bdmc_gap"].status == ("measured" if fault == "far" else "failed")
    assert results["mmd"].status == results["wasserstein"].status == "measured"


def test_one_chain_is_refused_where_it_is_asked_for():
    with pytest.raises(ValueError, match="chains must be at least 2, got 1"):
        Annealing(chains=1)
