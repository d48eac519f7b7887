"""Likelihood metrics of models whose latents are integrated over, where a suite asks for that."""

import re
from dataclasses import replace

import pytest
import torch
from latent_models import EncodedLinearGaussian, LinearGaussian
from test_annealing_metrics import evidence

from benchmark.estimators import quadrature
from benchmark.metrics import METRICS, annealing, integration, likelihood
from benchmark.metrics.base import Annealing, Conditions, NotApplicable
from benchmark.plan import questions_under
from benchmark.spec import DataSpec
from zoo.gan import GAN

PLANE = DataSpec((2,))
SHORT = Annealing(examples=20, train_examples=10, simulated=10, temperatures=30, start="prior")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return EncodedLinearGaussian(2, 2)


def asked(model, x, **changes):
    return replace(evidence(model, x, spec=PLANE, annealing=SHORT, **changes), quadrature=True)


def test_values_are_exact_and_of_all_test_examples(model):
    x, train = model.sample(200), 0.5 * model.sample(300)
    measured = asked(model, x, train=train)
    nll = likelihood.nll(measured)
    assert (nll.meaning, nll.n) == ("exact", 200)
    assert nll.per_example == pytest.approx(-model.exact(x).numpy(), abs=2e-3)
    gap = likelihood.train_test_gap(measured)
    on_train = model.exact(train[:50]).mean().item()
    assert (gap.meaning, gap.n) == ("exact", 50)
    assert gap.value == pytest.approx(on_train - model.exact(x).mean().item(), abs=1e-3)
    details = nll.details["quadrature"]
    assert 0 < details["error"] < 0.02
    assert 0 <= details["checked"] < 0.02
    assert details["pairs"] > details["cells"] > 100
    assert "remark" not in nll.details


def test_integrals_are_taken_once(model, monkeypatch):
    measured = asked(model, model.sample(30))
    first = likelihood.nll(measured)
    monkeypatch.setattr(integration, "integrate", None)
    assert likelihood.nll(measured).value == first.value


def test_nothing_is_annealed_then(model):
    measured = asked(model, model.sample(30))
    for metric in (annealing.bdmc_gap, annealing.effective_chains):
        with pytest.raises(NotApplicable, match="integrated over the latents"):
            metric(measured)
    assert "sandwiches" not in measured.shared
    bound = annealing.ais(measured)  # asked for by its own name it is what it says
    assert bound.meaning == "lower bound"
    assert bound.n == 20


def test_other_models_are_measured_as_without():
    torch.manual_seed(1)
    three = LinearGaussian(2, 3)
    x = three.sample(30)
    assert likelihood.nll(asked(three, x)).meaning == "sandwich"
    assert annealing.bdmc_gap(asked(three, x)).n == 10
    two = LinearGaussian(2, 2)
    assert likelihood.nll(replace(asked(two, x), quadrature=False)).meaning == "sandwich"


def test_a_decoder_that_takes_too_long_is_annealed(model, monkeypatch):
    monkeypatch.setattr(quadrature, "MOST_PAIRS", 1)
    measured = asked(model, model.sample(200))
    nll = likelihood.nll(measured)
    assert (nll.meaning, nll.n) == ("sandwich", 20)
    assert "quadrature" not in nll.details
    assert annealing.bdmc_gap(measured).n == 10


def test_a_generator_is_integrated_with_its_fitted_noise():
    torch.manual_seed(2)
    generator = GAN(PLANE, latents=2, width=16)
    x = generator.sample(120) + 0.1 * torch.randn(120, 2)
    measured = asked(generator, x)
    nll = likelihood.nll(measured)
    assert nll.meaning == "exact"
    sigma = measured.shared["sigma"]
    drawn = generator.sample(100_000)
    squares = torch.cdist(x[:20].double(), drawn.double()).square()
    log_prob = (-0.5 * squares / sigma**2).logsumexp(dim=1) - torch.log(
        torch.tensor(2 * torch.pi * sigma**2 * len(drawn))
    )
    difference = -torch.as_tensor(nll.per_example[:20]) - log_prob
    assert difference.median().abs() < 0.05


@pytest.mark.parametrize("where", ["error", "checked"])
def test_an_integral_that_is_off_is_remarked_upon(model, monkeypatch, where):
    found = quadrature.integrate

    def off(*arguments, finer=None):
        if finer is None:
            result = found(*arguments)
            return replace(result, error=result.error + 0.3) if where == "error" else result
        result = found(*arguments, finer=finer)
        shift = 0.3 if where == "checked" else 0.0
        return replace(result, log_prob=result.log_prob - shift)

    monkeypatch.setattr(integration, "integrate", off)
    details = likelihood.nll(asked(model, model.sample(20))).details
    assert details["quadrature"][where] == pytest.approx(0.3, abs=0.02)
    assert re.match(
        r"log p\(x\) integrated over latents is off by up to 0\.3 nats", details["remark"]
    )


def test_the_question_says_so_only_where_it_is_asked():
    plain = Conditions(100, 50, None)
    asked_for = replace(plain, quadrature=True)
    changed = {
        metric.name
        for (metric, without), (_, with_it) in zip(
            questions_under(plain), questions_under(asked_for), strict=True
        )
        if without != with_it
    }
    assert changed == {
        "nll",
        "bits_per_dim",
        "train_test_gap",
        "worst_class_gap",
        "worst_mode_gap",
        "bdmc_gap",
        "ais_ess",
    }
    nll = next(metric for metric in METRICS if metric.name == "nll")
    assert "quadrature" not in nll.settings(plain)
    assert nll.settings(asked_for)["quadrature"] is True
