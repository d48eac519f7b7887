"""Plain draws from the prior: against closed forms, enumerable data and where chains are lost."""

import math
from dataclasses import replace

import pytest
import torch
from latent_models import (
    EVERY_IMAGE,
    EncodedLinearGaussian,
    LinearGaussian,
    TinyImages,
    standard_prior,
)
from test_annealing_metrics import SETTINGS, evidence
from torch.distributions import Independent, Normal

from benchmark.estimators import prior_draws as module
from benchmark.estimators.ais import Chains
from benchmark.estimators.bdmc import Settings, annealed_lower_bound, best_start, sandwiches
from benchmark.estimators.latents import StandardLatents
from benchmark.estimators.prior_draws import prior_draws
from benchmark.metrics import annealing, likelihood
from benchmark.metrics.base import Annealing, Conditions
from benchmark.plan import questions_under
from benchmark.spec import DataSpec

LINE = DataSpec((1,))


def drawn(model, x, count):
    return prior_draws(StandardLatents(model), x, count)


def chains(log_weights):
    return Chains(log_weights.double(), *torch.zeros(3, len(log_weights)))


class Slit:
    """x is near 10 where the first latent lies in a narrow slit, and near 0 everywhere else.

    The likelihood is flat but for the slit's edges, so no gradient leads a chain there.
    """

    LOW, HIGH, SIGMA = 1.50, 1.55, 0.1

    def prior(self):
        return standard_prior(2)

    def decode(self, z):
        inside = (z[..., :1] > self.LOW) & (z[..., :1] < self.HIGH)
        loc = 10.0 * inside + 0.0 * z[..., :1]
        return Independent(Normal(loc, self.SIGMA, validate_args=False), 1)

    def sample(self, n):
        return self.decode(self.prior().sample((n,))).sample()

    def exact(self, x):
        low, high = torch.special.ndtr(torch.tensor([self.LOW, self.HIGH], dtype=torch.float64))
        inside = high - low
        parts = [
            share.log() + Normal(mean, self.SIGMA).log_prob(x.double()[:, 0])
            for mean, share in ((10.0, inside), (0.0, 1 - inside))
        ]
        return torch.logaddexp(*parts)


def test_many_draws_give_the_closed_form_from_both_sides():
    model = LinearGaussian(3, 2, noise_var=0.3)
    x = model.sample(20)
    z = model.posterior(x).sample()
    found = drawn(model, x, 400_000)
    exact = model.exact(x)
    torch.testing.assert_close(found.log_mean, exact, atol=0.05, rtol=0)
    value = model.decode(z).log_prob(x)
    torch.testing.assert_close(found.log_mean_with(value), exact, atol=0.05, rtol=0)


def test_a_prior_that_is_not_standard_is_drawn_from():
    prior = Independent(Normal(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0])), 1)
    model = LinearGaussian(3, 2, noise_var=0.3, prior=prior)
    x = model.sample(10)
    torch.testing.assert_close(drawn(model, x, 400_000).log_mean, model.exact(x), atol=0.1, rtol=0)


def test_masses_of_all_images_sum_to_one_for_any_draws():
    found = drawn(TinyImages(), EVERY_IMAGE, 7)
    assert found.log_mean.logsumexp(dim=0).item() == pytest.approx(0, abs=1e-6)


class Remembers(LinearGaussian):
    """The linear model, which keeps what it has decoded."""

    def __init__(self):
        super().__init__(3, 2, noise_var=0.3)
        self.seen = []

    def decode(self, z):
        self.seen.append(z)
        return super().decode(z)


def test_parts_are_summed_over_all_draws_but_the_pilots(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", {"cpu": 200})  # twenty draws at once beside ten data
    model = Remembers()
    x = model.sample(10)
    model.seen.clear()
    found = drawn(model, x, 95)
    assert [len(z) for z in model.seen] == [10, 20, 20, 20, 20, 15]
    z = torch.cat(model.seen[1:])[:, 0]
    directly = torch.stack([model.decode(z).log_prob(one).logsumexp(dim=0) for one in x])
    torch.testing.assert_close(found.log_sum, directly.double(), atol=1e-5, rtol=0)


def plain():
    """x = z + noise, both standard normal, and one x."""
    model = LinearGaussian(1, 1, noise_var=1.0)
    model.weight, model.mean = torch.ones(1, 1), torch.zeros(1)
    return model, torch.tensor([[0.7]])


def means_over_runs(estimate, runs=2_000):
    """Mean of estimates and its standard error."""
    values = torch.tensor([estimate() for _ in range(runs)], dtype=torch.float64)
    return values.mean().item(), values.std().item() / math.sqrt(runs)


def test_few_draws_are_right_on_average_in_both_directions():
    model, x = plain()
    exact, posterior = model.exact(x), model.posterior(x)

    def forwards():
        return (drawn(model, x, 3).log_mean - exact).exp().item()

    def backwards():
        value = model.decode(posterior.sample()).log_prob(x)
        return (exact - drawn(model, x, 3).log_mean_with(value)).exp().item()

    for estimate in (forwards, backwards):
        mean, error = means_over_runs(estimate)
        assert error < 0.03
        assert mean == pytest.approx(1, abs=4 * error)


def test_the_mixture_is_right_on_average_whatever_the_pilot_finds(monkeypatch):
    monkeypatch.setattr(module, "PILOT", 1)
    monkeypatch.setattr(module, "ENOUGH", 2.4)  # of three: now so, now otherwise
    model, x = plain()
    exact, shares = model.exact(x), []

    def mixed():
        found = drawn(model, x, 3)
        shares.append(found.share.item())
        perfect = chains(exact[:, None].expand(1, 2))
        return (found.beside(perfect).lower_bound - exact).exp().item()

    mean, error = means_over_runs(mixed)
    assert mean == pytest.approx(1, abs=4 * error)
    assert 0.1 < torch.tensor(shares).eq(module.UNSURE).float().mean() < 0.9


def test_weights_are_mixed_on_the_scale_whose_mean_is_known():
    weights, mean = torch.tensor([[0.2, 0.6]]), 0.1
    found = module.PriorDraws(torch.tensor([mean * 5]).double().log(), 5, torch.tensor([0.5]))
    forward = found.beside(chains(weights.log()))
    torch.testing.assert_close(
        forward.log_weights.exp(), 0.5 * weights.double() + 0.5 * mean, rtol=1e-6, atol=0
    )
    value = torch.tensor([0.7])
    reverse = found.beside_reverse(chains(weights.log()), value.log())
    with_one = (mean * 5 + value.double()) / 6
    expected = 0.5 / weights.double() + 0.5 / with_one
    torch.testing.assert_close((-reverse.log_weights).exp(), expected, rtol=1e-6, atol=0)


def test_the_pilot_tells_where_draws_are_enough():
    model = Slit()
    x = torch.tensor([[0.0], [10.0]])
    assert drawn(model, x, 20_000).share.tolist() == pytest.approx([module.SURE, module.UNSURE])
    far = torch.tensor([[1e30]])
    found = drawn(model, far, 2_000)
    assert found.share.tolist() == [module.UNSURE]
    assert found.log_mean.isneginf().all()


def test_draws_find_what_chains_miss_and_lose_little():
    model = Slit()
    x = torch.tensor([[0.05], [10.1], [-0.1], [9.95]])
    settings = Settings(chains=8, temperatures=20, leapfrog=1)
    alone = annealed_lower_bound(model, x, settings).lower_bound - model.exact(x)
    assert alone[1].item() < -100
    assert alone[3].item() < -100
    beside = annealed_lower_bound(model, x, replace(settings, prior_draws=200_000))
    off = beside.lower_bound - model.exact(x)
    assert (off < 0.15).all()
    assert (off[[0, 2]] > -0.15).all()
    assert (off[[1, 3]] > -math.log(2) - 0.15).all()


def test_reverse_chains_are_told_what_the_true_latents_explain(monkeypatch):
    told = []

    class Told(module.PriorDraws):
        def beside_reverse(self, reverse, value):
            told.append(value)
            return super().beside_reverse(reverse, value)

    def remember(latents, x, count):
        told.append(x)
        return Told(**vars(prior_draws(latents, x, count)))

    monkeypatch.setattr("benchmark.estimators.bdmc.prior_draws", remember)
    model = Remembers()
    sandwiches(model, 12, Settings(temperatures=5, prior_draws=50), [5])
    (x, value), z = told, model.seen[0]
    torch.testing.assert_close(value, model.decode(z).log_prob(x))


def test_the_gap_is_that_of_the_mixture():
    """On the slit's own samples, one in a hundred of which lies where chains do not come."""
    model = Slit()
    settings = Settings(chains=8, temperatures=20, leapfrog=1)
    torch.manual_seed(1)
    (alone,) = sandwiches(model, 400, settings, [20])
    assert alone.gaps.max() > 100
    torch.manual_seed(1)
    (beside,) = sandwiches(model, 400, replace(settings, prior_draws=100_000), [20])
    assert -0.2 < beside.gaps.mean() < 0.3
    assert beside.gaps.max() < 1.5


def test_a_start_is_chosen_by_the_chains_alone(monkeypatch):
    model = EncodedLinearGaussian(20, 8)
    monkeypatch.setattr("benchmark.estimators.bdmc.prior_draws", None)
    assert best_start(model, model.sample(20), Settings(temperatures=10, prior_draws=100))


def test_metrics_mix_them_in_where_a_suite_asks(monkeypatch):
    torch.manual_seed(0)
    model = Slit()
    x = torch.cat([model.sample(59), torch.tensor([[10.0]])])
    x = x.roll(1, dims=0)
    short = replace(SETTINGS, temperatures=20, leapfrog=1, examples=60)
    alone = likelihood.nll(evidence(model, x, LINE, short))
    asked = evidence(model, x, LINE, replace(short, prior_draws=100_000))
    beside = likelihood.nll(asked)
    exact = -model.exact(x)
    assert alone.per_example[0] > 100
    assert beside.meaning == "sandwich"
    assert beside.per_example == pytest.approx(exact.numpy(), abs=0.9)
    assert annealing.bdmc_gap(asked).value == pytest.approx(0.1, abs=0.2)


def settings_of(**changes):
    conditions = Conditions(100, 100, None, annealing=Annealing(**changes))
    asked = {question.metric: question for _, question in questions_under(conditions)}
    return asked["nll"].settings["annealing"], asked["bdmc_gap"].settings


def test_answers_without_them_stay_answers():
    for settings in settings_of():
        assert "prior_draws" not in settings
    for settings in settings_of(prior_draws=5_000):
        assert settings["prior_draws"] == 5_000


def test_a_short_run_draws_less_but_not_too_little():
    assert Annealing(prior_draws=1_000_000).scaled(0.02).prior_draws == 20_000
    assert Annealing(prior_draws=1_000_000).scaled(0.001).prior_draws == 10_000
    assert Annealing(prior_draws=500).scaled(0.02).prior_draws == 500
    assert Annealing().scaled(0.02).prior_draws == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="prior_draws must be at least 0, got -1"):
        Annealing(prior_draws=-1)
    model = LinearGaussian(3, 2)
    with pytest.raises(ValueError, match="prior draws must be at least 1, got 0"):
        drawn(model, model.sample(2), 0)


def test_a_decoder_that_gives_nan_is_at_fault():
    model = LinearGaussian(3, 2)
    x = model.sample(5)
    model.mean[1] = math.nan
    with pytest.raises(ValueError, match=r"NaN or \+inf at 50 draws from the prior"):
        drawn(model, x, 500)
