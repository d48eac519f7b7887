import math

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.inputs import pixels
from benchmark.metrics.mmd import measure, median_distance, squared_mmd
from benchmark.metrics.resampling import half_samples
from benchmark.randomness import generator


def direct_mmd(x, y, bandwidth):
    x, y = x.double().tolist(), y.double().tolist()

    def k(a, b):
        square = sum((s - t) ** 2 for s, t in zip(a, b, strict=True))
        widths = [scale * bandwidth for scale in (0.25, 0.5, 1, 2, 4)]
        return sum(math.exp(-square / (2 * width**2)) for width in widths) / 5

    def within(z):
        pairs = [k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def test_is_the_direct_double_sum_at_unequal_sizes():
    real, generated = torch.randn(17, 3) + 4, torch.randn(11, 3) * 1.7 + 4.5
    found = squared_mmd(real=real, generated=generated, bandwidth=1.3)
    assert found == pytest.approx(direct_mmd(real, generated, 1.3), rel=1e-9)


def test_blocks_of_rows_add_up(monkeypatch):
    real, generated = torch.randn(17, 3), torch.randn(11, 3) + 1
    whole = squared_mmd(real=real, generated=generated, bandwidth=1.3)
    monkeypatch.setattr("benchmark.metrics.mmd.ROWS_AT_ONCE", 4)
    assert squared_mmd(real=real, generated=generated, bandwidth=1.3) == pytest.approx(whole)


def test_is_unbiased_and_so_at_times_negative_for_equal_distributions():
    values = [
        squared_mmd(real=torch.randn(30, 2), generated=torch.randn(30, 2), bandwidth=1.5)
        for _ in range(300)
    ]
    assert min(values) < 0
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_features_far_from_the_origin_keep_their_digits():
    real, generated = torch.randn(40, 3).double(), torch.randn(40, 3).double() + 1
    near = squared_mmd(real=real, generated=generated, bandwidth=1.0)
    far = squared_mmd(real=real + 1e7, generated=generated + 1e7, bandwidth=1.0)
    assert far == pytest.approx(near, rel=1e-6)


def test_median_distance_is_that_of_the_real_pairs():
    real = torch.tensor([[0.0], [1.0], [4.0]])
    assert median_distance(real) == 3.0


def test_coinciding_real_examples_have_no_bandwidth():
    with pytest.raises(NotApplicable, match="coincide"):
        median_distance(torch.ones(10, 2))


def test_bandwidth_comes_from_the_real_data_alone():
    real, generated = torch.randn(60, 2), torch.randn(60, 2) * 9 + 3
    expected = squared_mmd(real=real, generated=generated, bandwidth=median_distance(real))
    assert measure(points_evidence(real, generated)).value == pytest.approx(expected)


def test_error_is_that_of_the_shared_half_samples():
    real, generated = torch.randn(31, 2), torch.randn(31, 2) + 1
    bandwidth = median_distance(real)
    expected = half_samples(
        lambda *, real, generated: squared_mmd(
            real=real, generated=generated, bandwidth=bandwidth
        ),
        real=real,
        generated=generated,
        generator=generator("mmd", 3),
    )
    found = measure(points_evidence(real, generated, seed=3))
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-9)
    kept = found.details["half_samples"]
    assert kept["values"] == pytest.approx(expected.values, rel=1e-9)


def test_images_compare_by_features_or_else_by_pixels():
    real, generated = random_images(40), random_images(40, darker=1)
    with_network = measure(images_evidence(real, generated))
    without = measure(images_evidence(real, generated, network="no weights"))
    scaled = (real.flatten(1).double() / 4, generated.flatten(1).double() / 4)
    bandwidth = median_distance(scaled[0])
    expected = squared_mmd(real=scaled[0], generated=scaled[1], bandwidth=bandwidth)
    assert without.value == pytest.approx(expected)
    assert with_network.value != pytest.approx(expected)


def test_one_image_repeated_has_a_finite_value():
    found = measure(images_evidence(random_images(40), random_images(1).repeat(40, 1, 1, 1)))
    assert found.value > 3 * found.standard_error > 0


def test_rejects_a_bandwidth_of_zero():
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        squared_mmd(real=torch.randn(4, 2), generated=torch.randn(4, 2), bandwidth=0.0)


def test_error_is_cautious_where_the_distributions_are_equal():
    # Second-order statistics spread √3 too much over halves there, as the module says.
    found = [
        measure(points_evidence(torch.randn(100, 2), torch.randn(100, 2), seed=seed))
        for seed in range(100)
    ]
    ratio = np.mean([m.standard_error for m in found]) / np.std([m.value for m in found])
    assert ratio == pytest.approx(math.sqrt(3), rel=0.2)


def test_error_is_near_the_spread_over_fresh_samples_where_they_differ():
    found = [
        measure(points_evidence(torch.randn(100, 2), torch.randn(100, 2) + 1, seed=seed))
        for seed in range(100)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.25)


def test_pixels_reach_from_zero_to_one():
    images = torch.tensor([0, 4, 1, 3], dtype=torch.uint8).view(1, 1, 2, 2)
    assert pixels(images, levels=5).tolist() == [[0.0, 1.0, 0.25, 0.75]]
