import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, random_images

from benchmark.metrics.kid import kernel_distance, measure


def direct_distance(x, y):
    """The unbiased estimate by double sums over single pairs, in one dimension or more."""
    x, y = x.double().tolist(), y.double().tolist()

    def k(a, b):
        return (sum(s * t for s, t in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(z):
        pairs = [k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def test_mean_over_many_halves_is_the_double_sum_over_all():
    # A U-statistic is the mean of itself over all subsets.
    real, generated = torch.randn(12, 3), torch.randn(12, 3) * 1.5 + 1
    found = kernel_distance(real=real, generated=generated, seed=1, subsets=2_000)
    error = np.std(found.subsets.values) / np.sqrt(2_000)
    assert found.value == pytest.approx(direct_distance(real, generated), abs=4 * error)
    assert 4 * error < 0.2 * found.value


def test_agrees_with_torchmetrics_on_the_same_subsets():
    from torchmetrics.image.kid import poly_mmd

    real, generated = torch.randn(30, 5).double(), torch.randn(30, 5).double() * 1.5
    found = kernel_distance(real=real, generated=generated, seed=4, subsets=6)
    rng = np.random.RandomState(4)
    values = []
    for _ in range(6):
        fake_rows = rng.choice(30, 15, replace=False)
        real_rows = rng.choice(30, 15, replace=False)
        values.append(poly_mmd(real[real_rows], generated[fake_rows]).item())
    assert found.value == pytest.approx(np.mean(values), rel=1e-9)


@pytest.mark.parametrize("k", [30, 41])
def test_equals_torch_fidelity_on_the_same_subsets(k):
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, generated = torch.randn(30, 5).double(), torch.randn(k, 5).double() * 1.5 + 0.2
    expected = kid_features_to_metric(
        generated, real, kid_subsets=7, kid_subset_size=15, rng_seed=9, verbose=False
    )
    found = kernel_distance(real=real, generated=generated, seed=9, subsets=7)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    spread = np.std(found.subsets.values)
    assert spread == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-9)


def test_is_unbiased_for_equal_distributions():
    values = [
        kernel_distance(
            real=torch.randn(40, 4), generated=torch.randn(40, 4), seed=i, subsets=10
        ).value
        for i in range(200)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("largest", [1_000, 30])
def test_error_is_the_spread_over_fresh_samples(monkeypatch, largest):
    # With halves of the 200, and with subsets so small that the spread must be scaled.
    monkeypatch.setattr("benchmark.metrics.kid.LARGEST_SUBSET", largest)
    found = [
        kernel_distance(
            real=torch.randn(200, 4), generated=torch.randn(200, 4) + 0.7, seed=i, subsets=40
        )
        for i in range(60)
    ]
    spread = np.std([f.value for f in found])
    assert np.mean([f.standard_error for f in found]) == pytest.approx(spread, rel=0.3)


def test_measures_features_and_repeats_under_its_seed():
    evidence = images_evidence(random_images(60), random_images(60, darker=2), seed=5)
    first, second = measure(evidence), measure(evidence)
    assert first == second
    assert first.value > 3 * first.standard_error
    assert first.n == 60


def test_a_constant_set_has_a_finite_value():
    collapsed = random_images(1).repeat(40, 1, 1, 1)
    found = measure(images_evidence(random_images(40), collapsed))
    assert found.value > 0
    assert np.isfinite(found.standard_error)


def test_values_on_subsets_are_kept_and_pair_with_another_models():
    real = random_images(60)
    found = measure(images_evidence(real, random_images(60, darker=2), seed=5))
    kept = found.details["half_samples"]
    assert kept["share"] == 0.5
    assert len(kept["values"]) == 100
    assert np.mean(kept["values"]) == pytest.approx(found.value)
    other = measure(images_evidence(real, random_images(60, darker=2), seed=5))
    # Both met the same halves of the real images, which is most of what their values share.
    correlation = np.corrcoef(kept["values"], other.details["half_samples"]["values"])[0, 1]
    assert correlation > 0.2


def test_rejects_a_single_subset():
    with pytest.raises(ValueError, match="subsets must be at least 2, got 1"):
        kernel_distance(real=torch.randn(8, 2), generated=torch.randn(8, 2), seed=0, subsets=1)


def test_rejects_fewer_than_four_examples():
    with pytest.raises(ValueError, match=r"real must be \[n >= 4, d\]"):
        kernel_distance(real=torch.randn(3, 2), generated=torch.randn(8, 2), seed=0)
