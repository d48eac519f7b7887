import math

import pytest
from latent_models import LinearGaussian

from benchmark.estimators.ais import log_mean_exp
from benchmark.estimators.plain import plain_forward, plain_reverse

LENGTH = {"temperatures": 400, "leapfrog": 4}


def test_both_bounds_of_a_small_linear_model_are_its_closed_form():
    model = LinearGaussian(8, 2, noise_var=0.3)
    z = model.prior().sample((40,))
    x = model.decode(z).sample()
    exact = model.exact(x)
    forward = plain_forward(model, x, chains=8, **LENGTH)
    backward = plain_reverse(model, x, z.expand(8, 40, 2), **LENGTH)
    assert forward.log_weights.shape == backward.log_weights.shape == (8, 40)
    lower = log_mean_exp(forward.log_weights.T) - exact
    upper = -log_mean_exp(backward.log_weights.T) - exact
    for off in (lower, upper):
        assert off.mean().abs() < 0.2
    error = math.hypot(*(off.std().item() / math.sqrt(40) for off in (lower, upper)))
    assert upper.mean() - lower.mean() > -3 * error
    for run in (forward, backward):
        assert run.acceptance == pytest.approx(0.65, abs=0.35)


def test_fewer_temperatures_loosen_the_bound():
    model = LinearGaussian(30, 4)
    x = model.sample(40)
    few, many = (
        log_mean_exp(
            plain_forward(model, x, chains=8, temperatures=temperatures, leapfrog=3).log_weights.T
        ).mean()
        for temperatures in (3, 60)
    )
    assert few < many - 1
    assert few < model.exact(x).mean()
