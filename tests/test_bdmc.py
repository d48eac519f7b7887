import pytest
import torch
from annealed_runs import error_of
from latent_models import BinaryImages, EncodedLinearGaussian, LinearGaussian, integrated
from torch.distributions import Independent, Laplace

from benchmark.estimators import bdmc
from benchmark.estimators.bdmc import Settings, annealed_lower_bound, best_start, sandwiches


@pytest.fixture
def simulated(monkeypatch):
    """The data that sandwiches are measured on, which they keep to themselves."""
    seen, tuned = [], bdmc.tuned
    monkeypatch.setattr(
        bdmc, "tuned", lambda model, x, settings: seen.append(x) or tuned(model, x, settings)
    )
    return seen


def bracket(runs, exact):
    """Means of lower and upper bound less the truth, for each run, and their errors."""
    lower = [run.forward.lower_bound - exact for run in runs]
    upper = [run.backward.upper_bound - exact for run in runs]
    for low, high in zip(lower, upper, strict=True):
        assert low.mean() < 3 * error_of(low)
        assert high.mean() > -3 * error_of(high)
    return [low.mean().item() for low in lower], [high.mean().item() for high in upper]


@pytest.mark.parametrize("latents", [2, 10])
@pytest.mark.parametrize("start", ["prior", "encoder", "posterior"])
def test_bounds_close_around_the_closed_form(simulated, latents, start):
    model = EncodedLinearGaussian(64, latents)
    runs = sandwiches(model, 50, Settings(start=start), [10, 200])
    lower, upper = bracket(runs, model.exact(simulated[0]))
    assert abs(lower[-1]) < 0.1
    assert abs(upper[-1]) < 0.1
    assert runs[-1].gaps.mean() <= runs[0].gaps.mean() + 0.05
    if start == "prior":
        assert runs[0].gaps.mean() > 0.5
    torch.testing.assert_close(
        runs[-1].gaps, runs[-1].backward.upper_bound - runs[-1].forward.lower_bound
    )


def test_bounds_close_around_the_integral_of_a_curved_model(simulated):
    model = BinaryImages()
    runs = sandwiches(model, 25, Settings(chains=32), [300])
    lower, upper = bracket(runs, integrated(model, simulated[0]))
    assert abs(lower[0]) < 0.05
    assert abs(upper[0]) < 0.05


def test_more_reverse_chains_tighten_the_upper_bound(simulated, monkeypatch):
    monkeypatch.setattr(bdmc, "ROWS", {"cpu": 6_400})
    model = LinearGaussian(64, 10)
    runs = [sandwiches(model, 100, Settings(chains=chains), [10])[0] for chains in (2, 64)]
    few, many = (
        (run.backward.upper_bound - model.exact(x)).mean()
        for run, x in zip(runs, simulated, strict=True)
    )
    assert many < few - 0.3
    weights = runs[1].backward.log_weights
    # A mean of log weights, which more chains do not tighten, would lie higher.
    assert weights.mean(dim=1).mean() > runs[1].backward.upper_bound.mean() + 0.5


def test_reverse_chains_of_one_datum_part_before_they_are_weighed():
    model = LinearGaussian(16, 3)
    (run,) = sandwiches(model, 10, Settings(), [1])
    assert (run.backward.log_weights.std(dim=1) > 1e-3).all()


def test_batches_keep_the_order_of_the_data(monkeypatch):
    model = EncodedLinearGaussian(10, 2)
    x = model.sample(11)
    monkeypatch.setattr(bdmc, "ROWS", {"cpu": 4 * 16})
    told = []
    found = annealed_lower_bound(
        model, x, Settings(temperatures=50, start="encoder"), lambda *seen: told.append(seen)
    )
    assert told[-1] == (150, 150)
    assert told == sorted(told)
    assert len(told) <= 100
    assert found.acceptance.shape == found.divergences.shape == found.energy_error.shape == (11,)
    torch.testing.assert_close(found.lower_bound, model.exact(x), atol=0.05, rtol=0)
    told.clear()
    (run,) = sandwiches(model, 9, Settings(temperatures=5), [5], lambda *seen: told.append(seen))
    assert told == [(done + 1, 30) for done in range(30)]
    assert len(run.gaps) == 9


class WithEncoder(LinearGaussian):
    """The linear model with an encoder that the test brings along."""

    def __init__(self, encode):
        super().__init__(30, 6)
        self.encode = lambda x: encode(self, x)


def test_a_start_near_the_posterior_is_chosen_and_a_bad_encoder_is_not():
    settings = Settings(temperatures=10)
    good = WithEncoder(lambda model, x: model.posterior(x))
    assert best_start(good, good.sample(30), settings) != "prior"
    bad = WithEncoder(lambda model, x: model.posterior(x + 40))
    assert best_start(bad, bad.sample(30), settings) == "posterior"


def test_few_latents_start_from_the_prior_which_knows_every_island():
    narrow = LinearGaussian(30, 2)
    narrow.encode = narrow.posterior
    assert best_start(narrow, narrow.sample(30), Settings(temperatures=10)) == "prior"


def test_a_model_without_a_normal_encoder_starts_elsewhere():
    settings = Settings(temperatures=10)
    assert best_start(LinearGaussian(30, 6), torch.randn(30, 30), settings) != "encoder"
    odd = WithEncoder(lambda model, x: Independent(Laplace(model.posterior(x).loc, 0.1), 1))
    assert best_start(odd, odd.sample(30), settings) != "encoder"
    with pytest.raises(ValueError, match="normal distributions"):
        annealed_lower_bound(odd, odd.sample(3), Settings(temperatures=10, start="encoder"))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (Settings(chains=1), "chains must be at least 2"),
        (Settings(start="middle"), "no start named 'middle'"),
        (Settings(schedule="quadratic"), "no schedule named 'quadratic'"),
        (Settings(start="encoder"), "needs a model with encode"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, complaint):
    model = LinearGaussian(6, 2)
    with pytest.raises(ValueError, match=complaint):
        annealed_lower_bound(model, model.sample(4), settings)
    with pytest.raises(ValueError, match=complaint):
        sandwiches(model, 4, settings, [5])


def test_runs_repeat_under_their_seed():
    model = BinaryImages()
    gaps = []
    for _ in range(2):
        torch.manual_seed(8)
        gaps.append(sandwiches(model, 5, Settings(start="posterior"), [10])[0].gaps)
    assert torch.equal(*gaps)


# The sizes and settings of a published comparison, with its plain implementation's gaps to beat.

LONG = {"temperatures": 1_000, "leapfrog": 10}


@pytest.mark.slow
@pytest.mark.parametrize("latents", [2, 10])
def test_small_decoders_at_full_length_are_within_a_tenth_of_a_nat(simulated, latents):
    model = LinearGaussian(64, latents)
    runs = sandwiches(model, 50, Settings(**LONG), [1_000])
    lower, upper = bracket(runs, model.exact(simulated[0]))
    assert abs(lower[0]) < 0.1
    assert abs(upper[0]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("latents", "start", "within", "gap"),
    [
        (10, "prior", 0.6, 1.0),
        (10, "encoder", 0.1, 0.2),
        (10, "posterior", 0.1, 0.2),
        (50, "prior", None, 5.5),
        (50, "encoder", None, 0.5),
        (50, "posterior", None, 0.5),
    ],
)
def test_decoders_of_digits_size_are_bracketed(simulated, latents, start, within, gap):
    model = EncodedLinearGaussian(784, latents)
    runs = sandwiches(model, 50, Settings(start=start, **LONG), [1_000])
    lower, upper = bracket(runs, model.exact(simulated[0]))
    print(f"{latents} latents from {start}: {lower[0]:+.3f} {upper[0]:+.3f}")
    assert within is None or abs(lower[0]) < within
    assert upper[0] - lower[0] < gap
