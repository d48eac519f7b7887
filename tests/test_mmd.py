import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy.stats import kstest

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.inputs import pixels
from benchmark.metrics.kernels import (
    GaussianMixture,
    Polynomial,
    RationalQuadratic,
    median_distance,
)
from benchmark.metrics.mmd import (
    measure,
    p_value,
    permutation_test,
    rational_quadratic,
    squared_mmd,
)
from benchmark.metrics.resampling import half_samples
from benchmark.randomness import generator


def gaussian(a, b):
    square = sum((s - t) ** 2 for s, t in zip(a, b, strict=True))
    widths = [scale * 1.3 for scale in (0.25, 0.5, 1, 2, 4)]
    return sum(math.exp(-square / (2 * width**2)) for width in widths) / 5


def rational(a, b):
    square = sum((s - t) ** 2 for s, t in zip(a, b, strict=True)) / 1.3**2
    return sum((1 + square / (2 * alpha)) ** -alpha for alpha in (0.2, 0.5, 1, 2, 5)) / 5


def cubic(a, b):
    return (sum(s * t for s, t in zip(a, b, strict=True)) / len(a) + 1) ** 3


KERNELS = [
    (GaussianMixture(1.3), gaussian),
    (RationalQuadratic(1.3), rational),
    (Polynomial(), cubic),
]


def direct_mmd(x, y, k):
    x, y = x.double().tolist(), y.double().tolist()

    def within(z):
        pairs = [k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize(("kernel", "direct"), KERNELS)
def test_is_the_direct_double_sum_at_unequal_sizes(kernel, direct):
    real, generated = torch.randn(17, 3) + 4, torch.randn(11, 3) * 1.7 + 4.5
    found = squared_mmd(real=real, generated=generated, kernel=kernel)
    assert found == pytest.approx(direct_mmd(real, generated, direct), rel=1e-9)


@pytest.mark.parametrize(("kernel", "_"), KERNELS)
def test_tiles_add_up_and_are_counted(monkeypatch, kernel, _):
    real, generated = torch.randn(17, 3), torch.randn(11, 3) + 1
    whole = squared_mmd(real=real, generated=generated, kernel=kernel)
    monkeypatch.setattr("benchmark.metrics.kernels.TILE", 4)
    told = []
    found = squared_mmd(
        real=real,
        generated=generated,
        kernel=kernel,
        progress=lambda done, total: told.append((done, total)),
    )
    assert found == pytest.approx(whole, rel=1e-10)
    assert told == [(done, 36) for done in range(1, 37)]  # 15 + 6 + 5 · 3 tiles


@pytest.mark.parametrize(("kernel", "_"), KERNELS)
def test_is_unbiased_and_so_at_times_negative_for_equal_distributions(kernel, _):
    values = [
        squared_mmd(real=torch.randn(30, 2), generated=torch.randn(30, 2), kernel=kernel)
        for _ in range(300)
    ]
    assert min(values) < 0
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_bandwidth_comes_from_the_real_data_alone():
    real, generated = torch.randn(60, 2), torch.randn(60, 2) * 9 + 3
    evidence, bandwidth = points_evidence(real, generated), median_distance(real)
    for metric, kernel in ((measure, GaussianMixture), (rational_quadratic, RationalQuadratic)):
        expected = squared_mmd(real=real, generated=generated, kernel=kernel(bandwidth))
        assert metric(evidence).value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "metric", "kernel"),
    [("mmd", measure, GaussianMixture), ("mmd_rq", rational_quadratic, RationalQuadratic)],
)
def test_error_is_that_of_the_shared_half_samples(name, metric, kernel):
    real, generated = torch.randn(31, 2), torch.randn(31, 2) + 1
    same = kernel(median_distance(real))
    expected = half_samples(
        lambda *, real, generated: squared_mmd(real=real, generated=generated, kernel=same),
        real=real,
        generated=generated,
        generator=generator(name, 3),
    )
    found = metric(points_evidence(real, generated, seed=3))
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-9)
    kept = found.details["half_samples"]
    assert kept["values"] == pytest.approx(expected.values, rel=1e-9)


def test_images_compare_by_features_or_else_by_pixels():
    real, generated = random_images(40), random_images(40, darker=1)
    with_network = measure(images_evidence(real, generated))
    without = measure(images_evidence(real, generated, network="no weights"))
    x, y = real.flatten(1).double() / 4, generated.flatten(1).double() / 4
    expected = squared_mmd(real=x, generated=y, kernel=GaussianMixture(median_distance(x)))
    assert without.value == pytest.approx(expected)
    assert with_network.value != pytest.approx(expected)


def test_one_image_repeated_has_a_finite_value():
    evidence = images_evidence(random_images(40), random_images(1).repeat(40, 1, 1, 1))
    for metric in (measure, rational_quadratic):
        found = metric(evidence)
        assert found.value > 3 * found.standard_error > 0
    assert p_value(evidence).value == 0.001


def enumerated_p_value(real, generated, kernel):
    """Share of all divisions whose statistic is as large as that of the given one."""
    pooled = torch.cat([real, generated])

    def of_division(rows):
        rest = [row for row in range(len(pooled)) if row not in rows]
        return squared_mmd(real=pooled[list(rows)], generated=pooled[rest], kernel=kernel)

    values = [of_division(rows) for rows in combinations(range(len(pooled)), len(real))]
    return np.mean(np.array(values) >= values[0] - 1e-12)


@pytest.mark.parametrize(("n", "m", "shift"), [(4, 5, 0.5), (3, 3, 4.0), (2, 7, 3.0)])
def test_p_value_tends_to_the_one_of_all_divisions(n, m, shift):
    # With 3 and 3 examples each division ties with the one that swaps its sides.
    real, generated = torch.randn(n, 2), torch.randn(m, 2) + shift
    kernel = GaussianMixture(median_distance(torch.cat([real, generated])))
    expected = enumerated_p_value(real, generated, kernel)
    found = permutation_test(
        real=real, generated=generated, generator=generator(n, m), permutations=4_000
    )
    error = math.sqrt(expected * (1 - expected) / 4_000)
    assert found.p_value == pytest.approx(expected, abs=4 * error)
    statistic = squared_mmd(real=real, generated=generated, kernel=kernel)
    assert found.statistic == pytest.approx(statistic, rel=1e-9)


def test_p_values_of_equal_distributions_are_uniform():
    values = [
        permutation_test(
            real=torch.randn(12, 2),
            generated=torch.randn(20, 2),
            generator=generator(repeat),
            permutations=199,
        ).p_value
        for repeat in range(300)
    ]
    assert kstest(values, "uniform").pvalue > 0.01
    assert np.mean(np.array(values) <= 0.05) < 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 300)


def test_p_value_is_the_least_possible_where_the_distributions_differ():
    found = p_value(points_evidence(torch.randn(60, 2), torch.randn(60, 2) + 1))
    assert found.value == 1 / 1_000
    assert found.n == 60
    assert found.details["permutations"] == 999


def test_p_value_repeats_under_its_seed():
    evidence = points_evidence(torch.randn(30, 2), torch.randn(30, 2), seed=4)
    assert p_value(evidence) == p_value(evidence)


def test_identical_sets_have_a_p_value_near_one():
    real = torch.randn(30, 2)
    assert p_value(points_evidence(real, real.flip(0))).value == 1.0


def test_bandwidth_of_the_test_is_that_of_the_pooled_set():
    # A part of it is drawn, so that no example has a place of its own.
    real, generated = torch.randn(1_500, 1), torch.randn(1_500, 1) + 40
    pooled = torch.cat([real, generated])
    found = permutation_test(
        real=real, generated=generated, generator=generator("part"), permutations=1
    )
    part = torch.randperm(3_000, generator=generator("part"))[:2_000]
    kernel = GaussianMixture(median_distance(pooled[part]))
    expected = squared_mmd(real=real, generated=generated, kernel=kernel)
    assert found.statistic == pytest.approx(expected, rel=1e-9)


def test_progress_of_the_metrics_is_told_under_their_names():
    stages = []
    evidence = replace(
        points_evidence(torch.randn(20, 2), torch.randn(20, 2)),
        progress=lambda stage, step, total: stages.append((stage, step, total)),
    )
    for metric in (measure, rational_quadratic, p_value):
        metric(evidence)
    assert stages[2] == ("mmd", 3, 3)
    assert stages[5] == ("mmd_rq", 3, 3)
    assert stages[6:] == [("mmd_p", 1, 1)]


def test_coinciding_real_examples_have_no_value():
    with pytest.raises(NotApplicable, match="coincide"):
        measure(points_evidence(torch.ones(10, 2), torch.randn(10, 2)))


def test_rejects_no_permutations():
    with pytest.raises(ValueError, match="permutations must be at least 1"):
        permutation_test(
            real=torch.randn(4, 2),
            generated=torch.randn(4, 2),
            generator=generator(0),
            permutations=0,
        )


def test_rejects_vectors_that_are_not_finite():
    with pytest.raises(ValueError, match="generated is not finite in 1 of 4 rows"):
        permutation_test(
            real=torch.randn(4, 2),
            generated=torch.tensor([[0.0], [1.0], [math.inf], [2.0]]).expand(4, 2),
            generator=generator(0),
        )


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
