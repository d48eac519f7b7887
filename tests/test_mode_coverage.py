import math

import numpy as np
import pytest
import torch
from sample_evidence import points_evidence

from benchmark.data.mixture import Mixture, grid, ring
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.mode_coverage import (
    high_quality,
    mode_coverage,
    mode_kl,
    modes,
)

PERFECT = 1 - math.exp(-4.5)  # share of a planar Gaussian within three standard deviations


def coverage_of(samples, mixture, **options):
    return mode_coverage(
        samples,
        means=mixture.means,
        sigma=mixture.sigma,
        weights=mixture.weights,
        **options,
    )


def drawn_from(mixture, weights, n):
    """Samples of the mixture with other weights."""
    return Mixture(mixture.means, mixture.sigma, torch.tensor(weights).double()).sample(n)


@pytest.mark.parametrize("mixture", [ring(), grid()], ids=["ring", "grid"])
def test_a_perfect_sampler_scores_what_theory_says(mixture):
    found = [coverage_of(mixture.sample(2500), mixture) for _ in range(40)]
    k = len(mixture.means)
    assert all(coverage.captured == k for coverage in found)
    assert np.mean([c.high_quality for c in found]) == pytest.approx(PERFECT, abs=0.003)
    divergence = np.mean([c.divergence for c in found])
    assert divergence == pytest.approx((k - 1) / (2 * 2500), rel=0.25)


def test_a_doubled_mode_shows_in_modes_and_divergence():
    # Seven distinct places, one of them twice as likely: the eighth mode is never drawn.
    mixture = ring()
    samples = drawn_from(mixture, [2.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 20_000)
    coverage = coverage_of(samples, mixture)
    assert coverage.captured == 7
    assert coverage.divergence == pytest.approx(0.25 * math.log(2), rel=0.05)


def test_modes_given_twice_are_refused():
    angles = torch.linspace(0, 2 * math.pi, 8)  # the end of the circle is its start
    means = torch.stack([angles.cos(), angles.sin()], dim=1)
    with pytest.raises(ValueError, match="is one there twice"):
        mode_coverage(torch.zeros(5, 2), means=means, sigma=0.01, weights=torch.ones(8) / 8)


def test_divergence_goes_from_the_truth_to_the_samples():
    # KL(generated || true); the other direction would be infinite for a missing mode.
    means, true = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]), torch.tensor([0.5, 0.3, 0.2])
    samples = means.repeat_interleave(torch.tensor([6, 4, 0]), dim=0)
    coverage = mode_coverage(samples, means=means, sigma=1.0, weights=true)
    expected = 0.6 * math.log(0.6 / 0.5) + 0.4 * math.log(0.4 / 0.3)
    assert coverage.divergence == pytest.approx(expected, rel=1e-6)
    both = means.repeat_interleave(torch.tensor([7, 2, 1]), dim=0)
    coverage = mode_coverage(both, means=means, sigma=1.0, weights=true)
    expected = 0.7 * math.log(0.7 / 0.5) + 0.2 * math.log(0.2 / 0.3) + 0.1 * math.log(0.1 / 0.2)
    assert coverage.divergence == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1 / math.sqrt(2), 25.0])
def test_rescaling_space_changes_nothing(scale):
    mixture = grid()
    samples = mixture.sample(2500)
    scaled = Mixture(mixture.means * scale, mixture.sigma * scale, mixture.weights)
    found, expected = coverage_of(samples * scale, scaled), coverage_of(samples, mixture)
    assert found.counts.tolist() == expected.counts.tolist()
    assert found.high_quality < 1  # a threshold of 3 units instead would accept all


def test_a_sample_counts_up_to_three_deviations_from_its_mode():
    samples = torch.tensor([[0.299, 0.0], [0.301, 0.0], [0.0, -0.299], [0.25, 0.25]])
    coverage = mode_coverage(
        samples, means=torch.zeros(1, 2), sigma=0.1, weights=torch.ones(1), threshold=3.0
    )
    assert coverage.counts.tolist() == [2]
    assert coverage.high_quality == 0.5


def test_samples_between_modes_capture_none_and_have_no_divergence():
    mixture = ring()
    noise = torch.randn(500, 2) * 0.05
    evidence = points_evidence(mixture.sample(500).float(), noise, modes=mixture)
    assert modes(evidence).value == 0
    assert high_quality(evidence).value == 0
    assert high_quality(evidence).high > 0
    with pytest.raises(NotApplicable, match="no sample lies within 3"):
        mode_kl(evidence)


def test_one_point_repeated_captures_one_mode():
    mixture = grid()
    collapsed = mixture.means[:1].repeat(300, 1).float()
    evidence = points_evidence(mixture.sample(300).float(), collapsed, modes=mixture)
    assert modes(evidence).value == 1
    assert high_quality(evidence).value == 1
    assert mode_kl(evidence).value == pytest.approx(math.log(25))


def test_data_without_known_modes_say_so():
    points = torch.randn(20, 2)
    for measure in (modes, high_quality, mode_kl):
        with pytest.raises(NotApplicable, match="no known modes"):
            measure(points_evidence(points, points))


def test_errors_are_near_the_spread_over_fresh_samples():
    mixture, weights = ring(), [4.0, 0.01, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    found = []
    for seed in range(60):
        samples = drawn_from(mixture, weights, 600).float()
        evidence = points_evidence(samples, samples, modes=mixture, seed=seed)
        found.append([high_quality(evidence), mode_kl(evidence)])
    for measurements in zip(*found, strict=True):
        spread = np.std([m.value for m in measurements])
        mean_error = np.mean([m.standard_error for m in measurements])
        assert mean_error == pytest.approx(spread, rel=0.3)


def test_a_mode_seen_once_is_an_uncertain_mode():
    mixture = ring()
    sure = mixture.means[:7].repeat(30, 1)
    evidence = points_evidence(sure, torch.cat([sure, mixture.means[7:]]), modes=mixture)
    found = modes(evidence)
    assert found.value == 8
    # It is drawn again with probability 1 - 1/e, so the count varies by sqrt(0.63 · 0.37).
    assert found.standard_error == pytest.approx(0.48, abs=0.08)
    assert found.high == 8


def test_rejects_wrong_dimensions_nan_and_weights():
    mixture = ring()
    with pytest.raises(ValueError, match="samples has 3 and means has 2"):
        coverage_of(torch.zeros(4, 3), mixture)
    with pytest.raises(ValueError, match="not finite"):
        coverage_of(torch.full((4, 2), float("nan")), mixture)
    with pytest.raises(ValueError, match="weights must be 8 positive"):
        mode_coverage(torch.zeros(4, 2), means=mixture.means, sigma=0.1, weights=torch.zeros(8))
