from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_evidence import points_evidence

from benchmark.data.gaussians import Mixture
from benchmark.metrics import likelihood
from benchmark.metrics.base import Annealing, NotApplicable
from benchmark.metrics.mode_likelihood import means_by_group, worst_mode_gap
from benchmark.spec import DataSpec
from zoo.ppca import PPCA

TRUTH = Mixture(
    torch.tensor([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0]], dtype=torch.float64),
    torch.tensor([1.0, 0.5], dtype=torch.float64),
    torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
)


class Model:
    """A mixture of which some likelihood is known; `bound` lowers it, and says so."""

    def __init__(self, mixture, bound=None):
        if bound is None:
            self.log_prob = mixture.log_prob
        else:
            self.log_prob_bound = lambda x: mixture.log_prob(x) - bound


def evidence_of(model, n=600, truth=TRUTH, seed=0):
    test = truth.sample(n).float()
    evidence = points_evidence(test, test[:4], modes=truth, seed=seed)
    return replace(evidence, model=model)


def with_weights(*weights):
    return Mixture(TRUTH.means, TRUTH.scales, torch.tensor(weights, dtype=torch.float64))


def test_the_truth_loses_nothing_in_any_mode():
    found = worst_mode_gap(evidence_of(Model(TRUTH)))
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.meaning == "exact"
    assert found.details["gaps"] == pytest.approx([0, 0, 0], abs=1e-9)


def test_a_nearly_missed_mode_shows_in_nats_and_hardly_in_the_mean():
    # Modes are far apart, so that the gap in each is the log of the ratio of its weights.
    found = worst_mode_gap(evidence_of(Model(with_weights(0.62, 0.37998, 2e-5))))
    assert found.value == pytest.approx(np.log(0.2 / 2e-5), rel=1e-4)
    assert found.details["gaps"] == pytest.approx(
        [np.log(0.5 / 0.62), np.log(0.3 / 0.37998), np.log(0.2 / 2e-5)], rel=1e-4
    )
    assert found.details["overall"] < 0.25 * found.value
    assert sum(found.details["examples"]) == found.n == 600


def test_a_bound_on_the_likelihood_bounds_the_gap_from_above():
    found = worst_mode_gap(evidence_of(Model(TRUTH, bound=0.7)))
    assert found.meaning == "upper bound"
    assert found.value == pytest.approx(0.7)


def test_annealed_importance_sampling_is_run_once_for_all_metrics(monkeypatch):
    class Latent:
        def __init__(self, model):
            self.prior, self.decode, self.encode = model.prior, model.decode, model.encode

    ppca = PPCA(DataSpec((2,)))
    data = TRUTH.sample(300).float()
    ppca.fit(data, data, 1.0, None)
    annealing = Annealing(examples=30, temperatures=30, start="encoder")
    evidence = replace(evidence_of(Latent(ppca), n=50), annealing=annealing)
    nll = likelihood.nll(evidence)
    monkeypatch.setattr("benchmark.metrics.annealing.annealed_lower_bound", None)
    found = worst_mode_gap(evidence)
    assert (found.meaning, found.n) == ("sandwich", 30)
    truth = -TRUTH.log_prob(evidence.test[:30]).mean().item()
    assert found.details["overall"] == pytest.approx(nll.value - truth, abs=1e-6)


def test_modes_without_examples_are_left_out():
    means, counts = means_by_group(
        torch.tensor([[1.0, 0], [3.0, 0], [-2.0, 2]], dtype=torch.float64), groups=4
    )
    assert counts.tolist() == [2, 0, 1, 0]
    assert means[[0, 2]].tolist() == [2, -2]
    assert means[[1, 3]].isnan().all()
    evidence = evidence_of(Model(with_weights(0.4, 0.2, 0.4)))
    in_two = evidence.test[TRUTH.assign(evidence.test).mode < 2]
    found = worst_mode_gap(replace(evidence, test=in_two))
    assert found.details["gaps"][2] is None
    assert found.value == pytest.approx(np.log(0.3 / 0.2), rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "remark"),
    [
        ([5, 5, 5], None),
        ([8, 5, 4], "one mode has fewer than 5 of 17 test examples"),
        ([9, 0, 1], "2 modes have fewer than 5 of 10 test examples"),
    ],
)
def test_modes_of_few_examples_are_counted(rows, remark):
    test = TRUTH.means.repeat_interleave(torch.tensor(rows), dim=0).float()
    evidence = replace(points_evidence(test, test[:4], modes=TRUTH), model=Model(TRUTH))
    found = worst_mode_gap(evidence)
    assert found.details.get("remark") == remark
    assert found.details["examples"] == rows
    assert found.details["weights"] == [0.5, 0.3, 0.2]


def test_error_is_near_the_spread_over_fresh_examples():
    wider = Mixture(TRUTH.means, 1.5 * TRUTH.scales, TRUTH.weights)
    shifted = Mixture(TRUTH.means + torch.tensor([0.5, 0.0]), TRUTH.scales, wider.weights)
    found = [worst_mode_gap(evidence_of(Model(shifted), n=200, seed=seed)) for seed in range(60)]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.4)


def test_needs_a_known_density_and_a_likelihood():
    points = torch.randn(9, 2)
    with pytest.raises(NotApplicable, match="no mixture of Gaussians"):
        worst_mode_gap(points_evidence(points, points))
    with pytest.raises(NotApplicable, match="samples only"):
        worst_mode_gap(evidence_of(object()))
