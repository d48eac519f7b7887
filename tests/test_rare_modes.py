import numpy as np
import pytest
import torch
from sample_evidence import points_evidence

from benchmark.data.gaussians import Mixture
from benchmark.data.mixture import ring
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.rare_modes import expected_recall, measure, rare_recall

WEIGHTS = np.array([0.6, 0.3, 0.07, 0.03])
RARE = np.array([False, False, True, True])


def mixture(weights=WEIGHTS):
    means = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]], dtype=torch.float64)
    return Mixture(means, torch.ones(2, dtype=torch.float64), torch.as_tensor(weights))


def samples_of(counts, between=0):
    """As many samples at the centre of each mode, and some far from all of them."""
    centres = mixture().means.repeat_interleave(torch.tensor(counts), dim=0)
    return torch.cat([centres, torch.full((between, 2), 99.0)]).float()


def found_in(counts, between=0, modes=None):
    samples = samples_of(counts, between)
    return measure(points_evidence(samples, samples, modes=modes or mixture()))


def test_recall_is_the_share_of_the_rare_probability_that_is_reached():
    # 4 of 7 hundredths, and 3 of 3: the surplus of the second does not make up for the first.
    found = found_in([60, 29, 4, 7])
    assert found.value == pytest.approx((0.04 + 0.03) / 0.10)
    assert found.details["rare"] == [2, 3]
    assert found.details["shares"] == pytest.approx([0.04, 0.07])
    assert found.low < found.value < found.high <= 1


def test_samples_far_from_every_mode_do_not_count():
    assert found_in([60, 29, 4, 7], between=300).value == pytest.approx(0.7)
    assert found_in([60, 29, 4, 7], between=300).n == 100


def test_missed_rare_modes_have_recall_zero_and_an_interval_above_it():
    found = found_in([700, 300, 0, 0])
    assert (found.value, found.low) == (0, 0)
    assert 0 < found.high < 0.1
    assert found_in([0, 0, 0, 0], between=9).value == 0


def test_a_perfect_sampler_scores_what_the_details_say():
    found = []
    for seed in range(80):
        samples = mixture().sample(500).float()
        found.append(measure(points_evidence(samples, samples, modes=mixture(), seed=seed)))
    expected = np.mean([m.details["perfect"] for m in found])
    spread = np.std([m.value for m in found])
    assert np.mean([m.value for m in found]) == pytest.approx(expected, abs=3 * spread / 80**0.5)
    assert expected < 0.97


def test_the_expected_recall_is_an_enumeration():
    # Two draws of one rare mode: it is missed, has half its probability or more, both times.
    weights, rare = np.array([0.8, 0.2]), np.array([False, True])
    assert expected_recall(2, weights=weights, rare=rare) == pytest.approx(1 - 0.8**2)
    one = expected_recall(10, weights=WEIGHTS, rare=RARE)
    drawn = np.random.default_rng(0).multinomial(10, WEIGHTS, size=100_000) / 10
    simulated = rare_recall(drawn, weights=WEIGHTS, rare=RARE).mean()
    assert one == pytest.approx(simulated, abs=0.01)


def test_error_is_near_the_spread_over_fresh_samples():
    lopsided = mixture(np.array([0.62, 0.33, 0.035, 0.015]))
    found = []
    for seed in range(80):
        samples = lopsided.sample(800).float()
        found.append(measure(points_evidence(samples, samples, modes=mixture(), seed=seed)))
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.25)


def test_equal_weights_leave_nothing_rare():
    points = ring().means.float()
    with pytest.raises(NotApplicable, match="no mode is rare"):
        measure(points_evidence(points, points, modes=ring()))
    with pytest.raises(NotApplicable, match="no known modes"):
        measure(points_evidence(points, points))
