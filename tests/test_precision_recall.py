from dataclasses import asdict

import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images

from benchmark.metrics.precision_recall import (
    coverage,
    density,
    precision,
    precision_recall,
    recall,
)


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


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize(("n", "m", "dims"), [(150, 110, 6), (90, 200, 40), (1100, 1050, 2)])
def test_agrees_with_prdc_in_general_position(capsys, n, m, dims, neighbours):
    from prdc import compute_prdc

    mixing = torch.randn(dims, dims).double()
    real, generated = torch.randn(n, dims).double(), torch.randn(m, dims).double() * 0.8 + 0.3
    real, generated = real @ mixing, generated @ mixing
    theirs = compute_prdc(real.numpy(), generated.numpy(), nearest_k=neighbours)
    found = precision_recall(real=real, generated=generated, neighbours=neighbours)
    assert asdict(found) == pytest.approx(theirs, rel=1e-12)
    assert len({round(value, 2) for value in theirs.values()}) > 2  # else it shows nothing


def test_agrees_with_torch_fidelity_in_general_position():
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, generated = torch.randn(150, 6).double(), torch.randn(110, 6).double() * 0.8 + 0.3
    theirs = prc_features_to_metric(
        generated, real, prc_neighborhood=3, prc_batch_size=50, save_cpu_ram=True, verbose=False
    )
    found = precision_recall(real=real, generated=generated)
    assert found.precision == pytest.approx(theirs["precision"], abs=1e-6)
    assert found.recall == pytest.approx(theirs["recall"], abs=1e-6)
    assert found.precision != pytest.approx(found.recall, abs=0.02)


def test_a_copied_set_lies_in_k_balls_for_each_example():
    real = torch.randn(200, 30)
    found = precision_recall(real=real, generated=real[torch.randperm(200)], neighbours=5)
    # Its own ball and those of the vectors it is a nearer than k-th neighbour of.
    assert asdict(found) == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}


def test_samples_crowded_where_the_data_are_dense_have_density_above_one_and_little_coverage():
    real = torch.randn(300, 8)
    found = precision_recall(real=real, generated=torch.randn(300, 8) * 0.2, neighbours=5)
    assert found.density > 2
    assert found.coverage < 0.5
    assert found.precision == 1


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


def test_each_has_the_neighbours_of_its_own_paper():
    real, generated = half_of_two_clusters()
    evidence = points_evidence(real, generated)
    three = precision_recall(real=real, generated=generated, neighbours=3)
    five = precision_recall(real=real, generated=generated, neighbours=5)
    assert density(evidence).value == five.density != three.density
    assert coverage(evidence).value == five.coverage != three.coverage
    assert recall(evidence).value == three.recall != five.recall


def test_two_models_of_one_seed_are_measured_on_the_same_halves_of_the_data():
    real = torch.randn(200, 4)
    same = [coverage(points_evidence(real, real + 0.1)) for _ in range(2)]
    assert same[0].details == same[1].details
    assert len(same[0].details["half_samples"]["values"]) == 30
    assert coverage(points_evidence(real, real + 0.1, seed=1)).details != same[0].details


def test_error_of_recall_is_near_the_spread_over_fresh_samples():
    found = [
        recall(points_evidence(torch.randn(200, 4), torch.randn(200, 4) * 0.7, seed=seed))
        for seed in range(25)
    ]
    spread = torch.tensor([m.value for m in found]).std().item()
    mean_error = sum(m.standard_error for m in found) / len(found)
    assert mean_error == pytest.approx(spread, rel=0.4)


def test_one_image_repeated_has_no_recall():
    collapsed = random_images(1).repeat(60, 1, 1, 1)
    evidence = images_evidence(random_images(60), collapsed)
    assert recall(evidence).value == 0
    assert recall(evidence).high < 0.1
    assert coverage(evidence).value < 0.3


def test_a_real_image_repeated_is_precise_without_recall():
    real = random_images(60)
    evidence = images_evidence(real, real[7:8].repeat(60, 1, 1, 1))
    assert precision(evidence).value == 1
    assert recall(evidence).value == 0


def test_rejects_fewer_examples_than_neighbours():
    with pytest.raises(ValueError, match=r"generated must be \[n >= 4, d\]"):
        precision_recall(real=torch.randn(9, 2), generated=torch.randn(3, 2))
