import numpy as np
import pytest
import torch
from sample_evidence import points_evidence
from scipy import integrate, stats

from benchmark.data.gaussians import Mixture
from benchmark.data.mixture import grid, ring
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.within_mode import mean_square_within, measure

# In general position: axes turned and of different scales, weights unequal.
TURNED = Mixture(
    torch.tensor([[0.0, 0.0], [7.0, 1.0], [-2.0, 9.0]], dtype=torch.float64),
    torch.tensor([0.5, 0.04], dtype=torch.float64),
    torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64),
    torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64),
)


def stretched(mixture, factor):
    return Mixture(mixture.means, factor * mixture.scales, mixture.weights, mixture.basis)


def found_for(mixture, samples, seed=0):
    return measure(points_evidence(samples[:4].float(), samples.float(), modes=mixture, seed=seed))


@pytest.mark.parametrize("mixture", [ring(), grid(), TURNED], ids=["ring", "grid", "turned"])
def test_a_perfect_sampler_has_the_spread_one(mixture):
    found = [found_for(mixture, mixture.sample(1000), seed) for seed in range(30)]
    values = [m.value for m in found]
    assert np.mean(values) == pytest.approx(1, abs=4 * np.std(values) / 30**0.5)
    assert np.mean([m.standard_error for m in found]) == pytest.approx(np.std(values), rel=0.35)


@pytest.mark.parametrize(("threshold", "dims"), [(3.0, 2), (1.3, 1), (4.0, 9)])
def test_the_spread_of_a_perfect_sampler_is_an_integral(threshold, dims):
    density = stats.chi(dims).pdf
    inside = integrate.quad(density, 0, threshold)[0]
    squares = integrate.quad(lambda r: r**2 * density(r), 0, threshold)[0]
    assert mean_square_within(threshold, dims) == pytest.approx(squares / inside, rel=1e-8)


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.5])
def test_other_scales_show_as_the_truncated_gaussian_says(factor):
    found = found_for(TURNED, stretched(TURNED, factor).sample(20_000))
    wide = mean_square_within(TURNED.threshold / factor, 2) * factor**2
    expected = wide / mean_square_within(TURNED.threshold, 2)
    assert found.value == pytest.approx(expected, rel=0.04)
    assert found.details["ratios"] == pytest.approx([expected] * 3, rel=0.1)


def test_is_a_direct_sum_over_the_samples_of_captured_modes():
    # Whitened by hand: 0.5 and 0.04 long along the columns of the basis.
    first, second = TURNED.basis.T
    samples = TURNED.means[[0, 0, 2]] + torch.stack([0.5 * first, 0.08 * second, 1.5 * second])
    found = found_for(TURNED, torch.cat([samples, samples[2:] + 50]))
    truth = 2 * stats.chi2(4).cdf(9) / stats.chi2(2).cdf(9)
    assert found.n == 2  # the third lies 37 deviations from its mode
    assert found.value == pytest.approx((1 + 4) / 2 / truth, rel=1e-5)
    assert found.details["ratios"] == [pytest.approx(2.5 / truth, rel=1e-5), None, None]


def test_every_captured_mode_counts_alike():
    many, few = 0.5 * TURNED.basis[:, 0], 0.04 * TURNED.basis[:, 1]
    samples = torch.cat(
        [(TURNED.means[0] + 2 * many).repeat(90, 1), (TURNED.means[1] + few)[None]]
    )
    truth = mean_square_within(3.0, 2)
    assert found_for(TURNED, samples).value == pytest.approx((4 + 1) / 2 / truth, rel=1e-5)


def test_rescaling_space_changes_nothing():
    samples = TURNED.sample(500)
    scaled = Mixture(25 * TURNED.means, 25 * TURNED.scales, TURNED.weights, TURNED.basis)
    first, second = found_for(TURNED, samples), found_for(scaled, 25 * samples)
    assert second.value == pytest.approx(first.value, rel=1e-4)


def test_one_point_repeated_has_no_spread():
    found = found_for(ring(), ring().means[:1].repeat(50, 1))
    assert (found.value, found.standard_error) == pytest.approx((0, 0), abs=1e-6)


def test_needs_gaussians_and_a_sample_near_one():
    points = torch.zeros(30, 2)
    with pytest.raises(NotApplicable, match="no sample is of high quality"):
        found_for(ring(), points)
    with pytest.raises(NotApplicable, match="no Gaussians"):
        measure(points_evidence(points, points))
