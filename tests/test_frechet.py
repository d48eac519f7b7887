from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, random_images

from benchmark.metrics import frechet
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.frechet import few_samples, frechet_distance, measure


def correlated_sets(n=400, m=300, dims=6):
    """Two sets whose covariances do not commute, far from the origin."""
    real = torch.randn(n, dims).double() @ torch.randn(dims, dims).double() + 3
    generated = torch.randn(m, dims).double() @ torch.randn(dims, dims).double() + 2.5
    return real, generated


def test_matches_the_closed_form_in_two_dimensions():
    real, generated = correlated_sets(dims=2)
    cov_r, cov_g = torch.cov(real.T), torch.cov(generated.T)
    product = cov_r @ cov_g
    # For a 2x2 matrix M with positive eigenvalues, Tr M^½ = sqrt(Tr M + 2 sqrt(det M)).
    trace_of_root = (product.trace() + 2 * product.det().sqrt()).sqrt()
    shift = (real.mean(dim=0) - generated.mean(dim=0)).square().sum()
    expected = shift + cov_r.trace() + cov_g.trace() - 2 * trace_of_root
    distance = frechet_distance(real=real, generated=generated)
    assert distance == pytest.approx(expected.item(), rel=1e-9)


def test_in_one_dimension_it_is_the_distance_of_means_and_deviations():
    real, generated = torch.randn(50, 1).double() * 2, torch.randn(70, 1).double() * 0.3 + 1
    expected = (real.mean() - generated.mean()) ** 2 + (real.std() - generated.std()) ** 2
    distance = frechet_distance(real=real, generated=generated)
    assert distance == pytest.approx(expected.item(), rel=1e-10)


def test_agrees_with_torch_fidelity_at_full_rank():
    from torch_fidelity.metric_fid import (
        KEY_METRIC_FID,
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )

    real, generated = correlated_sets(dims=40)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(real), fid_features_to_statistics(generated), verbose=False
    )
    distance = frechet_distance(real=real, generated=generated)
    assert distance == pytest.approx(theirs[KEY_METRIC_FID], rel=1e-9)


def test_agrees_with_torchmetrics_at_full_rank():
    from torchmetrics.image.fid import _compute_fid

    real, generated = correlated_sets(dims=25)
    theirs = _compute_fid(
        real.mean(dim=0), torch.cov(real.T), generated.mean(dim=0), torch.cov(generated.T)
    )
    distance = frechet_distance(real=real, generated=generated)
    assert distance == pytest.approx(theirs.item(), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(12, 15), (12, 90), (90, 12), (90, 90)])
def test_is_exact_for_singular_covariances(n, m):
    # The oracle needs roots of both: through eigenvectors in numpy, an independent path.
    real, generated = correlated_sets(n, m, dims=30)
    cov_r, cov_g = np.cov(real.numpy(), rowvar=False), np.cov(generated.numpy(), rowvar=False)

    def root(matrix):
        values, vectors = np.linalg.eigh(matrix)
        return vectors * np.sqrt(values.clip(min=0)) @ vectors.T

    cross = np.linalg.svd(root(cov_r) @ root(cov_g), compute_uv=False).sum()
    shift = (real.mean(dim=0) - generated.mean(dim=0)).square().sum().item()
    expected = shift + np.trace(cov_r) + np.trace(cov_g) - 2 * cross
    # The oracle's roots of rounding errors limit it, not the function.
    distance = frechet_distance(real=real, generated=generated)
    assert distance == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("decades", [0, 1, 2, 4, 8])
def test_both_ways_agree_where_the_shorter_one_is_taken(monkeypatch, decades):
    scales = torch.logspace(0, -decades, 50).double()
    turn = torch.linalg.qr(torch.randn(50, 50).double()).Q
    real, generated = (
        torch.randn(400, 50).double() * scales,
        torch.randn(300, 50).double() * scales,
    )
    real, generated = real + 3, generated @ turn + 2.9
    monkeypatch.setattr(frechet, "TOLERANCE", 1e-7)
    distance = frechet_distance(real=real, generated=generated)
    taken = frechet._from_covariances(real, generated)
    monkeypatch.setattr(frechet, "TOLERANCE", 0.0)
    through_singular_values = frechet_distance(real=real, generated=generated)
    assert distance == pytest.approx(through_singular_values, rel=1e-10)
    assert (taken is None) == (decades == 8)


def test_reading_features_in_blocks_changes_nothing(monkeypatch):
    real, generated = correlated_sets(dims=25)
    whole = frechet_distance(real=real, generated=generated)
    monkeypatch.setattr(frechet, "ROWS_AT_ONCE", 37)
    assert frechet_distance(real=real, generated=generated) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(frechet, "TOLERANCE", 0.0)
    assert frechet_distance(real=real, generated=generated) == pytest.approx(whole, rel=1e-12)


def test_the_bound_on_errors_takes_the_norms_of_whole_covariances():
    real, _ = correlated_sets()
    _, lower = frechet._mean_and_covariance(real)
    whole = torch.cov(real.T)
    torch.testing.assert_close(torch.from_numpy(lower), whole.tril(), rtol=1e-12, atol=1e-12)
    assert frechet._norm(lower) == pytest.approx(whole.norm().item(), rel=1e-12)


def test_moments_do_not_depend_on_the_order_of_a_sorted_set():
    real, _ = correlated_sets()
    real[:, 0] += torch.arange(len(real)) / len(real)
    count = 3 * frechet.ROWS_AT_ONCE // len(real)
    classes = torch.cat([real + 100 * number for number in range(count)])
    mean, lower = frechet._mean_and_covariance(classes)
    torch.testing.assert_close(torch.from_numpy(mean), classes.mean(dim=0), rtol=1e-12, atol=0)
    whole = torch.cov(classes.T).tril()
    torch.testing.assert_close(torch.from_numpy(lower), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [10, 200])
def test_is_zero_for_equal_sets_even_when_the_covariance_is_singular(n):
    flat = torch.randn(n, 64)
    flat[:, 5] = 1.0  # a dead feature
    assert frechet_distance(real=flat, generated=flat) == pytest.approx(0, abs=1e-10)


def test_float32_features_far_from_the_origin_keep_their_digits():
    real, generated = correlated_sets()
    far_r, far_g = (real + 5000).float(), (generated + 5000).float()
    expected = frechet_distance(real=far_r.double() - 5000, generated=far_g.double() - 5000)
    assert frechet_distance(real=far_r, generated=far_g) == pytest.approx(expected, rel=1e-9)


def test_a_constant_set_has_the_other_sets_spread_and_shift():
    real = torch.randn(100, 5).double()
    generated = torch.full((100, 5), 2.0).double()
    expected = (real.mean(dim=0) - 2).square().sum() + torch.cov(real.T).trace()
    distance = frechet_distance(real=real, generated=generated)
    assert distance == pytest.approx(expected.item(), rel=1e-10)


def test_rejects_unflattened_images():
    images = torch.zeros(8, 3, 32, 32)
    with pytest.raises(ValueError, match=r"real must be \[n >= 2, d\]"):
        frechet_distance(real=images, generated=images)


def test_rejects_one_example_unequal_dimensions_and_nan():
    good = torch.randn(9, 4)
    with pytest.raises(ValueError, match=r"generated must be \[n >= 2, d\], got \[1, 4\]"):
        frechet_distance(real=good, generated=good[:1])
    with pytest.raises(ValueError, match="real has 4 and generated has 3"):
        frechet_distance(real=good, generated=good[:, :3])
    broken = good.clone()
    broken[2, 1] = float("nan")
    with pytest.raises(ValueError, match="generated is not finite in 1 of 9 rows"):
        frechet_distance(real=good, generated=broken)


def test_measures_features_with_an_error_near_the_spread_over_fresh_samples():
    real = random_images(200)
    values, errors = [], []
    for seed in range(40):
        evidence = images_evidence(random_images(200), random_images(200, darker=1), seed=seed)
        measurement = measure(evidence)
        values.append(measurement.value)
        errors.append(measurement.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)
    assert measure(images_evidence(real, real)).value == pytest.approx(0, abs=1e-9)


def test_without_a_network_the_reason_is_handed_on():
    images = random_images(10)
    with pytest.raises(NotApplicable, match="no weights"):
        measure(images_evidence(images, images, network="no weights"))


def test_fewer_samples_than_dimensions_are_remarked_upon():
    remark = measure(images_evidence(random_images(8), random_images(8))).details["remark"]
    assert remark.startswith("8 samples in 8 dimensions leave the covariance singular")
    assert "draw more than 8" in remark
    assert "remark" not in measure(images_evidence(random_images(9), random_images(9))).details
    assert few_samples(2049, dims=2048) is None


def test_progress_of_the_error_bar_is_told():
    told = []
    images = random_images(20)
    evidence = images_evidence(images, images)
    measure(replace(evidence, progress=lambda *step: told.append(step)))
    assert [step for _, step, _ in told] == list(range(31))
    assert {total for _, _, total in told} == {31}
