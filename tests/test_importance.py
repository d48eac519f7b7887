import pytest
import torch
from latent_models import EVERY_IMAGE, TinyImages, integrated
from torch.distributions import Independent, Normal

from benchmark.estimators import importance
from benchmark.estimators.importance import importance_weighted_bound
from benchmark.spec import DataSpec
from zoo.ppca import PPCA


def small_ppca() -> PPCA:
    model = PPCA(DataSpec((5,)))
    model.weight = torch.randn(5, 2, dtype=torch.float64)
    model.mean = torch.randn(5, dtype=torch.float64)
    model.noise_var = torch.tensor(0.3, dtype=torch.float64)
    return model


def prior_for(n):
    return Independent(Normal(torch.zeros(n, 2, dtype=torch.float64), 1.0), 1)


def test_exact_posterior_gives_exact_log_prob_from_one_sample():
    model = small_ppca()
    x = model.sample(20)
    bound = importance_weighted_bound(model, x.double(), model.encode(x), samples=1)
    torch.testing.assert_close(bound, model.log_prob(x))


def test_prior_proposal_tightens_from_below_with_more_samples():
    model = small_ppca()
    x = model.sample(200).double()
    gaps = [
        (model.log_prob(x) - importance_weighted_bound(model, x, prior_for(200), samples=k)).mean()
        for k in (1, 30, 3000)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > -0.05


def test_chunks_of_samples_count_like_one(monkeypatch):
    # With the exact posterior every weight is p(x): any wrong bookkeeping of chunks shows.
    model = small_ppca()
    x = model.sample(20)
    monkeypatch.setattr(
        importance, "EVALUATIONS", {"cpu": 60}
    )  # three samples at a time, then one
    bound = importance_weighted_bound(model, x.double(), model.encode(x), samples=7)
    torch.testing.assert_close(bound, model.log_prob(x))


def test_no_samples_are_refused():
    model = small_ppca()
    with pytest.raises(ValueError, match="at least 1"):
        importance_weighted_bound(model, model.sample(3), prior_for(3), samples=0)


def wide_prior(n):
    return Independent(Normal(torch.zeros(n, 2), 1.3), 1)


@pytest.mark.parametrize("samples", [1, 20])
def test_estimates_of_all_images_sum_to_one_on_average(samples):
    # exp of the bound is unbiased for any number of samples and any proposal that covers z.
    model = TinyImages()
    repeats = 400
    with torch.no_grad():
        draws = torch.stack(
            [
                importance_weighted_bound(model, EVERY_IMAGE, wide_prior(81), samples).exp()
                for _ in range(repeats)
            ]
        )
    total = draws.sum(dim=1)
    error = (total.std() / repeats**0.5).item()
    assert error < 0.03
    assert total.mean().item() == pytest.approx(1, abs=4 * error)
    expected = integrated(model, EVERY_IMAGE).exp()
    deviations = (draws.mean(dim=0) - expected) / (draws.std(dim=0) / repeats**0.5)
    assert deviations.square().mean() < 2
