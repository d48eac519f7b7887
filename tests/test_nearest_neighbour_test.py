from itertools import combinations

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy.stats import kstest
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.nearest_neighbour_test import (
    NearestNeighbourTest,
    nearest_neighbour_test,
    nearest_others,
    on_generated,
    on_real,
    p_value,
)
from benchmark.metrics.shares import wilson_interval


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def pooled(real, generated, seed=0):
    return nearest_neighbour_test(real=real, generated=generated, drawn=drawn(seed))


def general_position(n=70, m=50):
    return torch.randn(n, 3).double() + 2, torch.randn(m, 3).double() * 0.6 + 2.3


def test_accuracies_are_those_of_scikit_learn_left_one_out():
    real, generated = general_position()
    found = pooled(real, generated)
    labels = np.repeat([0, 1], [70, 50])
    told = labels == cross_val_predict(
        KNeighborsClassifier(1), torch.cat([real, generated]).numpy(), labels, cv=LeaveOneOut()
    )
    assert found.accuracy == pytest.approx(told.mean())
    assert found.on_real.value == pytest.approx(told[:70].mean())
    assert found.on_generated.value == pytest.approx(told[70:].mean())
    assert found.on_real.value != pytest.approx(found.on_generated.value, abs=0.05)


@pytest.mark.parametrize("rows", [1, 7, 16, 100])
def test_neighbours_are_those_of_scikit_learn_whatever_the_blocks(rows, monkeypatch):
    monkeypatch.setattr("benchmark.metrics.nearest_neighbour_test.ROWS_AT_ONCE", rows)
    points = torch.randn(48, 5) + 3
    known = NearestNeighbors(n_neighbors=1).fit(points.numpy()).kneighbors(return_distance=False)
    assert nearest_others(points).tolist() == known[:, 0].tolist()


@pytest.mark.parametrize("rows", [2, 3, 100])
def test_of_equally_near_neighbours_the_first_is_taken(rows, monkeypatch):
    monkeypatch.setattr("benchmark.metrics.nearest_neighbour_test.ROWS_AT_ONCE", rows)
    points = torch.tensor([[2.0], [1.0], [3.0], [1.0], [2.0], [1.0], [9.0]])
    assert nearest_others(points).tolist() == [4, 3, 0, 1, 0, 1, 2]


def test_points_far_from_the_origin_keep_their_neighbours():
    points = torch.randn(60, 3).double()
    assert torch.equal(nearest_others(points + 1e7), nearest_others(points))


def test_progress_ends_near_the_number_of_pairs_of_blocks(monkeypatch):
    monkeypatch.setattr("benchmark.metrics.nearest_neighbour_test.ROWS_AT_ONCE", 20)
    told = []
    nearest_others(torch.randn(50, 2), lambda stage, step, total: told.append((step, total)))
    assert told == [(step, 6) for step in range(6)]


def test_examples_of_both_sets_that_coincide_are_told_by_chance():
    # Every point is there twice in either set: of its three twins one is of its own set.
    points = torch.randn(300, 2).repeat(2, 1)
    found = pooled(points, points.clone())
    assert found.accuracy == pytest.approx(1 / 3, abs=0.1)


def test_p_value_nears_that_of_all_permutations():
    real, generated = torch.randn(5, 2), torch.randn(4, 2) + 0.3
    found = pooled(real, generated)
    expected = 9 * (5 * 4 + 4 * 3) / (9 * 8)

    def deviation(chosen):
        labels = [i in chosen for i in range(9)]
        told = sum(labels[i] == labels[j] for i, j in enumerate(found.nearest.tolist()))
        return abs(told - expected)

    observed = deviation(found.labels.nonzero()[:, 0].tolist())
    every = [deviation(chosen) for chosen in combinations(range(9), 4)]
    above = np.mean([other > observed + 1e-9 for other in every])
    reached = np.mean([other > observed - 1e-9 for other in every])
    ranked = [found.p_value(drawn(seed), permutations=499) for seed in range(60)]
    assert np.mean(ranked) == pytest.approx((above + reached) / 2, abs=0.05)
    assert 0 < above < reached  # else it shows nothing
    assert above - 0.07 < min(ranked) < max(ranked) < reached + 0.07


def test_p_values_of_equal_distributions_are_uniform():
    found = [
        pooled(torch.randn(25, 2), torch.randn(40, 2), seed).p_value(drawn(seed), permutations=99)
        for seed in range(300)
    ]
    assert kstest(found, "uniform").pvalue > 0.01


def test_different_and_copied_samples_have_the_least_p_value():
    real = torch.randn(100, 2)
    apart = pooled(real, torch.randn(100, 2) + 3)
    copies = pooled(real, real + 1e-6)
    assert apart.accuracy > 0.9
    assert copies.accuracy == 0.0
    assert apart.p_value(drawn(), 99) == copies.p_value(drawn(), 99) == 0.01


def test_collapse_shows_on_both_sides_and_a_wide_set_on_one():
    real = torch.randn(200, 20)
    collapsed = pooled(real, torch.randn(200, 20) * 1e-3 + 3)
    assert collapsed.on_real.value > 0.9
    assert collapsed.on_generated.value > 0.9
    # Around a centre in 20 dimensions the narrow set is nearer to either.
    wide = pooled(real, torch.randn(200, 20) * 1.3)
    assert wide.on_real.value > 0.75
    assert wide.on_generated.value < 0.25


def test_exchanging_the_sets_exchanges_the_accuracies():
    real, generated = general_position()
    there, back = pooled(real, generated), pooled(generated, real)
    assert there.on_real.value == back.on_generated.value
    assert there.on_generated.value == back.on_real.value


def test_measures_agree_with_the_test_and_share_it():
    real, generated = general_position(80, 50)
    evidence = points_evidence(real, generated, seed=2)
    found, tail = on_real(evidence), p_value(evidence)
    known = pooled(real, generated)
    assert found.value == known.on_real.value
    assert on_generated(evidence).value == known.on_generated.value
    assert (found.low, found.high) == known.on_real.interval
    assert found.details["accuracy"] == known.accuracy
    assert (found.n, on_generated(evidence).n, tail.n) == (80, 50, 130)
    assert tail.value == p_value(points_evidence(real, generated, seed=2)).value


@pytest.mark.parametrize(
    ("sizes", "dims", "scale", "shift"),
    [((120, 120), 3, 1.0, 0.0), ((150, 60), 2, 1.0, 0.5), ((80, 80), 32, 0.9, 0.0)],
    ids=["equal", "shifted", "hubs"],
)
def test_errors_are_near_the_spread_over_fresh_samples(sizes, dims, scale, shift):
    n, m = sizes
    tests = [
        pooled(torch.randn(n, dims), torch.randn(m, dims) * scale + shift, seed)
        for seed in range(250)
    ]
    for found in ([t.on_real for t in tests], [t.on_generated for t in tests]):
        values = np.array([accuracy.value for accuracy in found])
        errors = np.array([accuracy.standard_error for accuracy in found])
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.15)
        low, high = np.array([accuracy.interval for accuracy in found]).T
        covered = np.mean((low <= values.mean()) & (values.mean() <= high))
        assert 0.9 < covered < 0.985


def test_certain_answers_have_an_interval_of_positive_width():
    found = pooled(torch.randn(50, 2), torch.randn(50, 2) + 99).on_real
    assert (found.value, found.standard_error) == (1.0, 0.0)
    assert found.interval == wilson_interval(1.0, 50)


def test_images_compare_by_features():
    real = random_images(60)
    collapsed = random_images(1).repeat(60, 1, 1, 1)
    assert on_generated(images_evidence(real, collapsed)).value == 1.0
    with pytest.raises(NotApplicable, match="no weights"):
        on_real(images_evidence(real, collapsed, network="no weights"))


def test_inputs_are_not_changed():
    real, generated = general_position()
    copies = real.clone(), generated.clone()
    pooled(real, generated)
    assert torch.equal(real, copies[0])
    assert torch.equal(generated, copies[1])


def test_rejects_sets_without_a_neighbour():
    with pytest.raises(ValueError, match=r"generated must be \[n >= 2, d\]"):
        pooled(torch.randn(5, 2), torch.randn(1, 2))


def test_right_answers_are_counted_within_either_set():
    labels = torch.tensor([False, False, False, True, True])
    found = NearestNeighbourTest(labels, torch.tensor([1, 0, 3, 4, 2]))
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.on_real.value == pytest.approx(2 / 3)
    assert found.on_generated.value == pytest.approx(1 / 2)
