import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence
from scipy.stats import gaussian_kde, norm
from sklearn.neighbors import KernelDensity

from benchmark.estimators import parzen
from benchmark.estimators.parzen import choose_bandwidth, parzen_log_likelihood
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.parzen import measure

CORRELATED = torch.tensor([[1.0, 0.4, -0.2], [0.0, 0.7, 0.3], [0.0, 0.0, 1.6]])


def points(n, centre=2.0, scale=1.0):
    return centre + scale * torch.randn(n, 3) @ CORRELATED


def log_mass(level, centre, bandwidth, levels):
    """Of one pixel, by distribution functions, in the tail where these keep their digits."""
    low = -math.inf if level == 0 else level - 0.5
    high = math.inf if level == levels - 1 else level + 0.5
    log_tail, near, far = (norm.logcdf, high, low) if level <= centre else (norm.logsf, low, high)
    logs = [log_tail(near, centre, bandwidth), log_tail(far, centre, bandwidth)]
    return logs[0] + np.log1p(-np.exp(logs[1] - logs[0]))


def mass_one_by_one(x, samples, bandwidth, levels):
    values = []
    for image in x.flatten(1).tolist():
        logs = [
            sum(log_mass(a, b, bandwidth, levels) for a, b in zip(image, sample, strict=True))
            for sample in samples.flatten(1).tolist()
        ]
        values.append(np.logaddexp.reduce(logs) - math.log(len(samples)))
    return torch.tensor(values)


@pytest.mark.parametrize("bandwidth", [0.05, 0.4, 3.0])
def test_density_is_that_of_scikit_learn(bandwidth):
    x, samples = points(40), points(300, centre=1.5)
    # One leaf: between the nodes of its tree scikit-learn loses digits far from every sample.
    density = KernelDensity(bandwidth=bandwidth, leaf_size=1_000).fit(samples.double().numpy())
    expected = torch.from_numpy(density.score_samples(x.double().numpy()))
    torch.testing.assert_close(parzen_log_likelihood(x, samples, bandwidth), expected)


def test_density_is_that_of_scipy_where_its_covariance_is_round():
    samples = torch.randn(400, 1) * 0.3 - 1
    x = torch.randn(30, 1)
    theirs = gaussian_kde(samples.double().numpy().T, bw_method=0.2)
    bandwidth = math.sqrt(theirs.covariance.item())
    expected = torch.from_numpy(theirs.logpdf(x.double().numpy().T))
    torch.testing.assert_close(parzen_log_likelihood(x, samples, bandwidth), expected)


@pytest.mark.parametrize(("levels", "bandwidth"), [(17, 0.3), (17, 2.7), (256, 1.1), (256, 45.0)])
def test_mass_is_that_of_a_loop_over_pixels(levels, bandwidth):
    images = torch.randint(0, levels, (23, 2, 3, 2), dtype=torch.uint8)
    images[:5, :, :2] = 0
    images[5:9, :, 1:] = levels - 1
    # Neighbours of the images, so that the kernels overlap.
    near = (images.long() + torch.randint(-2, 3, images.shape)).clamp(0, levels - 1)
    expected = mass_one_by_one(images[:8], near, bandwidth, levels)
    found = parzen_log_likelihood(images[:8], near.to(torch.uint8), bandwidth, levels)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-5)


@pytest.mark.parametrize("bandwidth", [0.2, 0.9, 30.0])
def test_masses_of_all_images_sum_to_one(bandwidth):
    every = torch.tensor(list(product(range(3), repeat=4))).view(81, 1, 2, 2)
    samples = torch.randint(0, 3, (7, 1, 2, 2))
    total = parzen_log_likelihood(every, samples, bandwidth, levels=3).logsumexp(dim=0)
    assert total.item() == pytest.approx(0, abs=1e-5)


def test_density_integrates_to_one():
    side = torch.linspace(-4, 4, 401)
    every = torch.cartesian_prod(side, side)
    total = parzen_log_likelihood(every, torch.randn(5, 2) * 0.5, 0.3).logsumexp(dim=0)
    assert total.exp().item() * 0.02**2 == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("levels", [None, 17])
def test_blocks_give_what_one_piece_gives(monkeypatch, levels):
    x, samples = torch.randint(0, 17, (2, 50, 1, 4, 4))
    whole = parzen_log_likelihood(x, samples, 1.7, levels)
    monkeypatch.setattr(parzen, "ELEMENTS", 16 * 7)
    torch.testing.assert_close(parzen_log_likelihood(x, samples, 1.7, levels), whole)


def test_points_far_from_the_origin_lose_no_digits():
    x, samples = points(20).double(), points(90).double()
    moved = parzen_log_likelihood(x + 1e6, samples + 1e6, 0.1)
    torch.testing.assert_close(moved, parzen_log_likelihood(x, samples, 0.1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 16.0, 300.0])
def test_bandwidth_is_the_best_of_a_fine_grid_in_any_unit(scale):
    samples, validation = points(200, scale=scale), points(150, scale=scale)
    chosen = choose_bandwidth(samples, validation)
    grid = [chosen.value * 1.02**place for place in range(-60, 61)]
    scores = [parzen_log_likelihood(validation, samples, h).mean().item() for h in grid]
    assert not chosen.at_edge
    assert grid[int(np.argmax(scores))] == pytest.approx(chosen.value, rel=0.021)
    assert chosen.log_likelihood >= max(scores) - 1e-6


@pytest.mark.parametrize("levels", [5, 256])
def test_bandwidth_of_images_is_the_best_of_a_fine_grid(levels):
    clean = torch.randint(levels // 4, levels - levels // 4, (40, 1, 3, 3)).double()

    def noisy(n):
        drawn = clean[torch.randint(40, (n,))] + levels / 12 * torch.randn(n, 1, 3, 3)
        return drawn.round().clamp(0, levels - 1).to(torch.uint8)

    samples, validation = noisy(300), noisy(120)
    chosen = choose_bandwidth(samples, validation, levels)
    grid = [chosen.value * 1.05**place for place in range(-50, 51)]
    scores = [parzen_log_likelihood(validation, samples, h, levels).mean().item() for h in grid]
    assert not chosen.at_edge
    assert chosen.log_likelihood >= max(scores) - 1e-6


def test_a_likelihood_that_rises_to_the_end_of_the_search_is_flagged():
    copies = torch.randint(0, 5, (9, 1, 2, 2))
    assert choose_bandwidth(copies, copies, 5).at_edge
    with pytest.raises(ValueError, match="no bandwidth is best"):
        choose_bandwidth(copies.double(), copies.double())


def test_samples_of_one_point_get_the_spread_of_the_data():
    validation = torch.randn(400, 2) * 0.01 + 1
    chosen = choose_bandwidth(torch.ones(100, 2), validation)
    expected = (validation - 1).square().mean().sqrt().item()
    assert chosen.value == pytest.approx(expected, rel=2e-3)


def test_bandwidth_of_binary_images_makes_flips_as_likely_as_they_are():
    validation = torch.zeros(50, 20, dtype=torch.uint8)
    validation.view(-1)[:400] = 1  # 40 % of all pixels, which is beyond the grid's first end
    chosen = choose_bandwidth(torch.zeros(10, 20, dtype=torch.uint8), validation, 2)
    assert chosen.value == pytest.approx(0.5 / norm.isf(0.4), rel=2e-3)


@pytest.mark.parametrize(
    ("samples", "bandwidth", "complaint"),
    [
        (torch.zeros(0, 3), 1.0, "m >= 1"),
        (torch.zeros(4, 2), 1.0, "shape of x"),
        (torch.zeros(4, 3), 0.0, "positive, got 0"),
        (torch.zeros(4, 3), math.nan, "positive, got nan"),
    ],
)
def test_what_makes_no_mixture_is_refused(samples, bandwidth, complaint):
    with pytest.raises(ValueError, match=complaint):
        parzen_log_likelihood(torch.zeros(5, 3), samples, bandwidth)


def evidence_of_points(generated, validation):
    evidence = points_evidence(points(120), generated)
    return replace(evidence, validation=validation)


def test_the_metric_is_the_test_splits_mean_at_the_bandwidth_of_validation():
    generated, validation = points(200), points(700)
    evidence = evidence_of_points(generated, validation)
    found = measure(evidence)
    bandwidth = choose_bandwidth(generated, validation[:500]).value
    expected = parzen_log_likelihood(evidence.test, generated, bandwidth)
    assert found.details == {"bandwidth": bandwidth, "at_edge": False}
    assert found.value == pytest.approx(expected.mean().item())
    assert found.standard_error == pytest.approx(expected.std().item() / math.sqrt(120))
    assert found.meaning == "estimate"
    np.testing.assert_allclose(found.per_example, expected.numpy(), rtol=1e-6)


def test_the_metric_of_images_is_a_mass():
    images = torch.randint(0, 5, (180, 1, 4, 4), dtype=torch.uint8)
    evidence = replace(images_evidence(images[:60], images[60:120]), validation=images[120:])
    found = measure(evidence)
    assert found.per_example.max() < 0
    assert found.value > -16 * math.log(5) - 3


def test_validation_examples_among_the_samples_choose_no_bandwidth():
    validation = points(100)
    fresh = points(80)
    mixed = measure(evidence_of_points(torch.cat([validation[:50], fresh]), validation))
    samples = torch.cat([validation[:50], fresh])
    expected = choose_bandwidth(samples, validation[50:]).value
    assert mixed.details["bandwidth"] == pytest.approx(expected)
    with pytest.raises(NotApplicable, match="are the validation examples"):
        measure(evidence_of_points(validation, validation))


def test_without_validation_there_is_no_bandwidth():
    with pytest.raises(NotApplicable, match="no validation split"):
        measure(evidence_of_points(points(10), None))


def test_draws_from_the_truth_rank_below_cluster_means():
    # Theis et al. 2016, table 1: why the estimate is not to be trusted.
    centres = 3 * torch.randn(10, 50)

    def drawn(n):
        return centres[torch.randint(10, (n,))] + torch.randn(n, 50)

    test, validation = drawn(200), drawn(200)
    of_means, of_truth = (
        measure(replace(points_evidence(test, samples), validation=validation)).value
        for samples in (centres, drawn(500))
    )
    assert of_means > of_truth + 5
