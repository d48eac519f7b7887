import pytest
import torch
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
