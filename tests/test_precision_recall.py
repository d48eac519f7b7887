import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images

from benchmark.metrics.precision_recall import precision, precision_recall, recall


def half_of_two_clusters():
    """Real data in two clusters, of which the samples know one: precise, without recall."""
    real = torch.cat([torch.randn(200, 2), torch.randn(200, 2) + 40])
    return real, torch.randn(300, 2) * 0.7


def test_samples_of_one_of_two_clusters_have_precision_and_half_the_recall():
    real, generated = half_of_two_clusters()
    found = precision_recall(real=real, generated=generated)
    assert found.precision > 0.95
    assert 0.3 < found.recall < 0.5


def test_exchanging_the_sets_exchanges_precision_and_recall():
    real, generated = half_of_two_clusters()
    there = precision_recall(real=real, generated=generated)
    back = precision_recall(real=generated, generated=real)
    assert (there.precision, there.recall) == (back.recall, back.precision)


def test_agrees_with_prdc_in_general_position(capsys):
    from prdc import compute_prdc

    real, generated = torch.randn(150, 6).double(), torch.randn(110, 6).double() * 0.8 + 0.3
    theirs = compute_prdc(real.numpy(), generated.numpy(), nearest_k=3)
    found = precision_recall(real=real, generated=generated)
    assert found.precision == pytest.approx(theirs["precision"], abs=1e-6)
    assert found.recall == pytest.approx(theirs["recall"], abs=1e-6)
    assert found.precision != pytest.approx(found.recall, abs=0.02)  # else it shows nothing


def test_a_shift_of_both_sets_changes_nothing():
    real, generated = torch.randn(80, 3).double(), torch.randn(80, 3).double() + 0.5
    far = precision_recall(real=real + 1e8, generated=generated + 1e8)
    assert far == precision_recall(real=real, generated=generated)


def test_measures_are_the_two_shares_with_errors():
    real, generated = half_of_two_clusters()
    found = precision_recall(real=real, generated=generated)
    evidence = points_evidence(real, generated)
    assert precision(evidence).value == found.precision
    assert recall(evidence).value == found.recall
    assert 0 < recall(evidence).standard_error < 0.1
    assert precision(evidence).high <= 1


def test_error_of_recall_is_near_the_spread_over_fresh_samples():
    found = [
        recall(points_evidence(torch.randn(200, 4), torch.randn(200, 4) * 0.7, seed=seed))
        for seed in range(40)
    ]
    spread = torch.tensor([m.value for m in found]).std().item()
    mean_error = sum(m.standard_error for m in found) / len(found)
    assert mean_error == pytest.approx(spread, rel=0.4)


def test_one_image_repeated_has_no_recall():
    collapsed = random_images(1).repeat(60, 1, 1, 1)
    evidence = images_evidence(random_images(60), collapsed)
    assert recall(evidence).value == 0
    assert recall(evidence).high < 0.1


def test_rejects_fewer_examples_than_neighbours():
    with pytest.raises(ValueError, match=r"generated must be \[n >= 4, d\]"):
        precision_recall(real=torch.randn(9, 2), generated=torch.randn(3, 2))
