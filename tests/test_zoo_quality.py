"""What the zoo is expected to reach at full length; minutes, so only `tox -e slow` runs it."""

import pytest

from benchmark.data import load_dataset
from benchmark.metrics.mode_coverage import mode_coverage
from benchmark.models import build
from benchmark.randomness import fork_rng
from benchmark.suite import load_suite
from benchmark.training_log import TrainingLog

SUITES = ("autoregressive", "quick")
MODELS = {model.name: model for name in SUITES for model in load_suite(name).models}


def trained(name, data):
    with fork_rng(3):  # a seed that the suite does not use
        model = build(MODELS[name].factory, data.spec, MODELS[name].settings_on(data.name))
        model.fit(data.train, data.validation, 1.0, TrainingLog(None, "32-true"))
        return model, model.eval().sample(2_500 if data.mixture else 400)


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "least"), [("ring", 8), ("grid", 23)])
@pytest.mark.parametrize("name", ["wgan_gp", "vae", "pixelcnn_pp"])
def test_modes_are_captured_with_a_seed_that_nobody_looked_at(name, dataset, least):
    data = load_dataset(dataset)
    _, drawn = trained(name, data)
    found = mode_coverage(data.mixture.assign(drawn), data.mixture.weights)
    assert found.captured >= least


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pixelcnn_pp", "gated_pixelcnn", "pixelrnn"])
def test_autoregressive_models_beat_the_classical_likelihoods_on_digits(name):
    data = load_dataset("digits")
    neural, _ = trained(name, data)
    exact = neural.log_prob(data.test).mean()
    for baseline in ("gmm", "marginals"):
        classical, _ = trained(baseline, data)
        assert exact > classical.log_prob(data.test).mean() + 10
