from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence
from scipy.stats import mannwhitneyu, norm

from benchmark.data import load_dataset
from benchmark.features import load_network
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.data_copying import data_copying, measure, rank_score
from benchmark.randomness import fork_rng
from zoo.baselines import HeldOutData, Memoriser


def points(train, test, generated, seed=0):
    return replace(points_evidence(test, generated, seed=seed), train=train)


def located(cells, distances):
    return torch.tensor([cells, distances], dtype=torch.float64).T


@pytest.mark.parametrize("shift", [-0.3, 0.4])
def test_rank_score_is_that_of_scipys_test(shift):
    real, generated = torch.rand(40).double(), torch.rand(30).double() + shift
    p = mannwhitneyu(
        generated, real, alternative="less", use_continuity=False, method="asymptotic"
    ).pvalue
    assert rank_score(real=real, generated=generated) == pytest.approx(norm.ppf(p), rel=1e-9)
    assert np.sign(rank_score(real=real, generated=generated)) == np.sign(shift)


def test_equal_distances_count_half():
    real, generated = torch.tensor([1.0, 2.0, 2.0, 5.0]), torch.tensor([0.0, 2.0, 6.0])
    wins = sum((g > r) + 0.5 * (g == r) for g in generated.tolist() for r in real.tolist())
    expected = (wins - 6) / (4 * 3 * 8 / 12) ** 0.5
    assert rank_score(real=real, generated=generated) == pytest.approx(expected)


def test_cells_weigh_as_much_as_the_held_out_examples_in_them():
    held_out = located([0, 0, 0, 1, 2, 2], [1, 2, 3, 5, 1, 1])
    generated = located([0, 0, 1, 1, 2], [0, 2.5, 6, 7, 9])
    first = rank_score(real=torch.tensor([1.0, 2, 3]), generated=torch.tensor([0.0, 2.5]))
    second = rank_score(real=torch.tensor([5.0]), generated=torch.tensor([6.0, 7.0]))
    found = data_copying(held_out=held_out, generated=generated, counted=torch.tensor([0.0, 1.0]))
    assert found == pytest.approx((3 * first + 1 * second) / 4)


def test_one_cell_is_the_test_on_all_distances(monkeypatch):
    monkeypatch.setattr("benchmark.metrics.data_copying.MOST_CELLS", 1)
    train, test, generated = torch.randn(200, 3), torch.randn(90, 3), torch.randn(70, 3) * 1.4
    distances = [torch.cdist(x.double(), train.double()).amin(dim=1) for x in (test, generated)]
    found = measure(points(train, test, generated))
    assert found.value == pytest.approx(rank_score(real=distances[0], generated=distances[1]))
    assert found.value > 0
    assert found.details["cells"] == 1
    assert found.details["held_out_share"] == 1


def test_cells_with_few_samples_do_not_count():
    clusters = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    train = torch.randn(200, 2) + clusters.repeat_interleave(100, dim=0)
    test = torch.randn(100, 2) + clusters.repeat_interleave(50, dim=0)
    generated = torch.randn(100, 2) + clusters[[0] * 85 + [1] * 15]
    found = measure(points(train, test, generated))
    assert found.details["cells"] == 1
    assert found.details["held_out_share"] == 0.5


def test_copying_in_one_place_shows_though_other_samples_are_far():
    # The mean distance is that of the data or more; a test without cells would see no copies.
    clusters = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    train = torch.randn(400, 2) + clusters.repeat_interleave(200, dim=0)
    test = torch.randn(200, 2) + clusters.repeat_interleave(100, dim=0)
    copied, far = train[:50], torch.randn(10, 2) * 3 + clusters[1]
    found = measure(points(train, test, torch.cat([copied, far])))
    assert found.value < -3


def test_too_few_samples_are_no_cell():
    with pytest.raises(NotApplicable, match="no cell of the data holds 20 samples"):
        measure(points(torch.randn(50, 2), torch.randn(30, 2), torch.randn(15, 2)))


def test_error_is_near_the_spread_over_fresh_samples():
    train = torch.randn(300, 2)
    found = [
        measure(points(train, torch.randn(150, 2), torch.randn(150, 2) * 1.2, seed=0))
        for _ in range(40)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.3)


def test_values_on_halves_are_on_the_scale_of_the_whole():
    train, test, generated = torch.randn(300, 2), torch.randn(400, 2), torch.randn(400, 2) * 2
    found = measure(points(train, test, generated))
    halves = found.details["half_samples"]["values"]
    assert np.mean(halves) == pytest.approx(found.value, rel=0.05)


def test_cells_are_those_of_the_training_data_whatever_the_seed():
    train, test, generated = torch.randn(500, 2), torch.randn(400, 2), torch.randn(400, 2) * 1.3
    first, second = (measure(points(train, test, generated, seed=seed)) for seed in (0, 1))
    assert first.details["cells"] > 1
    assert first.value == second.value


def test_repeats_exactly():
    sets = [torch.randn(n, 2) for n in (300, 150, 150)]
    first, second = (measure(points(*sets, seed=4)) for _ in range(2))
    assert (first.value, first.standard_error) == (second.value, second.standard_error)


@pytest.mark.parametrize("seed", range(3))
def test_digits_the_memoriser_copies_and_the_data_do_not(seed):
    data = load_dataset("digits")
    network = load_network("digits-cnn")
    values = []
    for model in (HeldOutData(data.spec), Memoriser(data.spec)):
        with fork_rng(seed):
            model.fit(data.train, data.validation, 1.0, None)
            generated = model.sample(400)
        evidence = images_evidence(data.test, generated, network, seed)
        values.append(measure(replace(evidence, spec=data.spec, train=data.train)).value)
    assert abs(values[0]) < 1.5
    assert values[1] < -5
