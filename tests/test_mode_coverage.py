import math

import numpy as np
import pytest
import torch
from sample_evidence import points_evidence

from benchmark.data.mixture import grid, ring, ring_rare
from benchmark.metrics.base import Assigned, NotApplicable
from benchmark.metrics.mode_coverage import (
    divergence_from,
    divergence_to,
    high_quality,
    mode_coverage,
    mode_kl,
    mode_kl_forward,
    modes,
)

PERFECT = 1 - math.exp(-4.5)  # share of a planar Gaussian within three standard deviations
MIXTURES = {"ring": ring(), "ring_rare": ring_rare(), "grid": grid()}


def coverage_of(samples, mixture):
    return mode_coverage(mixture.assign(samples), mixture.weights)


def drawn_from(mixture, weights, n):
    """Samples [n, d] of the mixture with other weights, of which some may be zero."""
    component = torch.multinomial(torch.tensor(weights).double(), n, replacement=True)
    return mixture.points(component, torch.randn(n, 2, dtype=torch.float64))


def evidence_of(samples, mixture, seed=0):
    samples = samples.float()
    return points_evidence(samples, samples, modes=mixture, seed=seed)


def centres_of(mixture, counts):
    return mixture.means.repeat_interleave(torch.tensor(counts), dim=0)


@pytest.mark.parametrize("name", MIXTURES)
def test_a_perfect_sampler_scores_what_theory_says(name):
    mixture = MIXTURES[name]
    found = [coverage_of(mixture.sample(2500), mixture) for _ in range(100)]
    k = len(mixture.means)
    assert all(coverage.captured == k for coverage in found)
    assert np.mean([c.high_quality for c in found]) == pytest.approx(PERFECT, abs=0.003)
    floor = (k - 1) / (2 * 2500 * PERFECT)
    for divergence in (divergence_from, divergence_to):
        values = [divergence(c.counts, c.weights).item() for c in found]
        assert np.mean(values) == pytest.approx(floor, rel=0.2)


def test_the_measurements_of_a_perfect_sampler_stand_beside_what_it_has():
    evidence = evidence_of(grid().sample(2500), grid())
    assert modes(evidence).value == 25
    assert high_quality(evidence).details["perfect"] == PERFECT
    for measure in (mode_kl, mode_kl_forward):
        found = measure(evidence)
        assert found.details["floor"] == 24 / (2 * found.n)
        assert found.value < 2.5 * found.details["floor"]


def test_a_doubled_mode_shows_in_modes_and_divergence():
    # Seven distinct places, one of them twice as likely: the eighth mode is never drawn.
    mixture = ring()
    evidence = evidence_of(drawn_from(mixture, [2.0, 0.0, *[1.0] * 6], 20_000), mixture)
    assert modes(evidence).value == 7
    assert mode_kl(evidence).value == pytest.approx(0.25 * math.log(2), rel=0.05)


def test_reverse_divergence_goes_from_the_truth_to_the_samples():
    # KL(generated || true); the other direction would be infinite for a missing mode.
    true = torch.tensor([0.5, 0.3, 0.2])
    found = divergence_from(torch.tensor([[6, 4, 0], [7, 2, 1]]), true)
    assert found.tolist() == pytest.approx(
        [
            0.6 * math.log(0.6 / 0.5) + 0.4 * math.log(0.4 / 0.3),
            0.7 * math.log(0.7 / 0.5) + 0.2 * math.log(0.2 / 0.3) + 0.1 * math.log(0.1 / 0.2),
        ]
    )


def test_forward_divergence_goes_from_the_samples_to_the_truth():
    # KL(true || generated), with half a sample more in each mode.
    found = divergence_to(torch.tensor([[6, 4, 0], [7, 2, 1]]), torch.tensor([0.5, 0.3, 0.2]))
    smoothed = [(6.5, 4.5, 0.5), (7.5, 2.5, 1.5)]
    expected = [
        0.5 * math.log(0.5 * 11.5 / a) + 0.3 * math.log(0.3 * 11.5 / b) + 0.2 * math.log(2.3 / c)
        for a, b, c in smoothed
    ]
    assert found.tolist() == pytest.approx(expected)


def test_a_missed_rare_mode_costs_much_in_the_forward_direction_only():
    mixture = ring_rare()
    counts = [round(w * 2500) if w > 0.02 else 0 for w in mixture.weights.tolist()]
    evidence = evidence_of(centres_of(mixture, counts), mixture)
    assert mode_kl(evidence).value == pytest.approx(-math.log(0.99))
    expected = 0.01 * (math.log(2 * sum(counts) * 0.01) - 1)
    assert mode_kl_forward(evidence).value == pytest.approx(expected, rel=0.02)


def test_both_divergences_of_the_true_shares_vanish():
    mixture = ring()
    evidence = evidence_of(centres_of(mixture, [50] * 8), mixture)
    assert mode_kl(evidence).value == pytest.approx(0, abs=1e-12)
    assert mode_kl_forward(evidence).value == pytest.approx(0, abs=1e-12)


def test_samples_between_modes_capture_none_and_have_no_divergence():
    mixture = ring()
    evidence = evidence_of(torch.randn(500, 2) * 0.05, mixture)
    assert modes(evidence).value == 0
    assert high_quality(evidence).value == 0
    assert high_quality(evidence).high > 0
    for measure in (mode_kl, mode_kl_forward):
        with pytest.raises(NotApplicable, match="no sample is of high quality"):
            measure(evidence)


def test_one_point_repeated_captures_one_mode():
    mixture = grid()
    evidence = evidence_of(mixture.means[:1].repeat(300, 1), mixture)
    assert modes(evidence).value == 1
    assert high_quality(evidence).value == 1
    assert mode_kl(evidence).value == pytest.approx(math.log(25))


def test_noise_over_the_grid_captures_all_modes_and_is_exposed_by_its_quality():
    mixture = grid()
    evidence = evidence_of(9 * torch.rand(20_000, 2) - 4.5, mixture)
    assert modes(evidence).value == 25
    discs = 25 * math.pi * (3 * 0.05) ** 2 / 81
    assert high_quality(evidence).value == pytest.approx(discs, rel=0.2)


def test_data_without_known_modes_say_so():
    points = torch.randn(20, 2)
    for measure in (modes, high_quality, mode_kl, mode_kl_forward):
        with pytest.raises(NotApplicable, match="no known modes"):
            measure(points_evidence(points, points))


def test_errors_are_near_the_spread_over_fresh_samples():
    mixture, weights = ring(), [4.0, 0.02, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    measures = (high_quality, mode_kl, mode_kl_forward)
    found = []
    for seed in range(40):
        evidence = evidence_of(drawn_from(mixture, weights, 600), mixture, seed)
        found.append([measure(evidence) for measure in measures])
    for measurements in zip(*found, strict=True):
        spread = np.std([m.value for m in measurements])
        mean_error = np.mean([m.standard_error for m in measurements])
        assert mean_error == pytest.approx(spread, rel=0.3)


def test_a_mode_seen_once_is_an_uncertain_mode():
    mixture = ring()
    found = modes(evidence_of(centres_of(mixture, [30] * 7 + [1]), mixture))
    assert found.value == 8
    # It is drawn again with probability 1 - 1/e, so the count varies by sqrt(0.63 · 0.37).
    assert found.standard_error == pytest.approx(0.48, abs=0.08)
    assert found.high == 8


def test_counts_are_of_high_quality_samples_and_weights_are_shares():
    mode, kept = torch.tensor([0, 2, 2, 1]), torch.tensor([True, True, True, False])
    found = mode_coverage(Assigned(mode, kept), torch.tensor([2.0, 1.0, 1.0]))
    assert found.counts.tolist() == [1, 0, 2]
    assert found.weights.tolist() == [0.5, 0.25, 0.25]
    assert (found.captured, found.high_quality, found.floor) == (2, 0.75, 2 / 6)


@pytest.mark.parametrize(
    ("mode", "weights", "complaint"),
    [
        ([], [0.5, 0.5], "give one at least"),
        ([0], [1.0, 0.0], "weights must be positive"),
        ([3], [0.5, 0.5], "mode 3 have no weight: there are 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(mode, weights, complaint):
    mode = torch.tensor(mode, dtype=torch.int64)
    assigned = Assigned(mode, torch.ones_like(mode, dtype=torch.bool))
    with pytest.raises(ValueError, match=complaint):
        mode_coverage(assigned, torch.tensor(weights))
