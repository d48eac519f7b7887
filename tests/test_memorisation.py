import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy.stats import fisher_exact

from benchmark.data import load_dataset
from benchmark.features import load_network
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.memorisation import (
    authentic,
    authenticity,
    copies,
    copies_p,
    distance_ratio,
    is_copy,
    nn_distance_ratio,
    pixel_distance_ratio,
)
from benchmark.metrics.training_neighbours import nearest
from benchmark.randomness import fork_rng
from zoo.baselines import HeldOutData, Memoriser

# Of neighbours in a Poisson process, the share that are not each other's: 1/3 on a line, and
# 1 - 6 pi / (8 pi + 3 sqrt(3)) in the plane (Pickard 1982).
NOT_MUTUAL = {1: 1 / 3, 2: 1 - 6 * math.pi / (8 * math.pi + 3 * math.sqrt(3))}


def points(train, test, generated, seed=0):
    return replace(points_evidence(test, generated, seed=seed), train=train)


def inner(n, dims):
    """Points of the unit cube that are away from its walls."""
    return torch.rand(n, dims).double() * 0.6 + 0.2


def test_ratio_is_that_of_the_mean_distances():
    train, test = torch.zeros(2, 1), torch.tensor([[1.0], [-3.0], [2.0], [-2.0]])
    generated = torch.tensor([[0.5], [0.0], [-1.5], [1.0], [2.0]])
    assert nn_distance_ratio(points(train, test, generated)).value == pytest.approx(1.0 / 2.0)


def test_test_data_that_are_training_data_are_an_error():
    with pytest.raises(ValueError, match="every held-out example is a training example"):
        distance_ratio(held_out=torch.zeros(4), generated=torch.ones(4))


def test_error_of_the_ratio_is_near_its_spread_over_fresh_samples():
    train = torch.randn(400, 2)
    found = [
        nn_distance_ratio(points(train, torch.randn(200, 2), torch.randn(150, 2) * 1.3, seed))
        for seed in range(100)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.25)


def test_images_have_a_ratio_in_pixels_too():
    train, test, generated = random_images(50), random_images(30), random_images(20, darker=2)
    evidence = replace(images_evidence(test, generated), train=train)

    def mean_distance(images):
        return torch.cdist(images.flatten(1).double(), train.flatten(1).double()).amin(1).mean()

    expected = mean_distance(generated) / mean_distance(test)
    assert pixel_distance_ratio(evidence).value == pytest.approx(expected.item())
    assert nn_distance_ratio(evidence).value != pytest.approx(expected.item(), rel=1e-3)


def test_points_have_no_ratio_in_pixels():
    with pytest.raises(NotApplicable, match="points have no pixels"):
        pixel_distance_ratio(points(*(torch.randn(9, 2) for _ in range(3))))


def test_the_first_samples_are_kept_with_their_nearest_training_images():
    train, test = random_images(50), random_images(30)
    generated = train[torch.randperm(50)[:20]]
    evidence = replace(images_evidence(test, generated), train=train)
    for metric in (nn_distance_ratio, pixel_distance_ratio):
        pairs = metric(evidence).details["pairs"]
        assert pairs["generated"] == pairs["nearest"] == generated[:8].tolist()


def test_points_and_large_images_keep_no_pairs(monkeypatch):
    evidence = points(*(torch.randn(9, 2) for _ in range(3)))
    assert "pairs" not in nn_distance_ratio(evidence).details
    monkeypatch.setattr("benchmark.metrics.memorisation.LARGEST_PAIR", 15)
    images = replace(images_evidence(random_images(9), random_images(9)), train=random_images(9))
    assert "pairs" not in nn_distance_ratio(images).details


@pytest.mark.parametrize("dims", [1, 2])
def test_fresh_draws_are_authentic_as_often_as_neighbours_are_not_mutual(dims):
    train, fresh = torch.rand(20_000, dims).double(), inner(10_000, dims)
    share = authentic(nearest(fresh, train, count=2), train).double().mean().item()
    assert share == pytest.approx(NOT_MUTUAL[dims], abs=0.02)


def test_authenticity_counts_samples_beyond_the_gap_of_their_training_example():
    train = torch.tensor([[0.0], [1.0], [10.0], [14.0]])
    # Nearest: 0 (gap 1), 1 (gap 1), 10 (gap 4), 14 (gap 4), 14.
    generated = torch.tensor([[-0.9], [2.5], [7.0], [18.5], [15.0]])
    found = authentic(nearest(generated, train, count=2), train)
    assert found.tolist() == [False, True, False, True, False]
    measured = authenticity(points(train, torch.randn(6, 1), generated))
    assert (measured.value, measured.n) == (0.4, 5)


def test_copies_of_duplicates_among_the_training_data_are_no_authentic_samples():
    train = torch.tensor([[0.0], [0.0], [3.0]])
    found = nearest(torch.tensor([[0.0], [3.0]]), train, count=2)
    assert authentic(found, train).tolist() == [False, False]
    assert is_copy(found).tolist() == [True, True]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_fresh_draws_are_copies_by_chance_once_in_three_to_the_power_of_the_dimension(dims):
    found = nearest(inner(20_000, dims), torch.rand(20_000, dims).double(), count=2)
    assert is_copy(found).double().mean().item() == pytest.approx(3.0**-dims, rel=0.06)


def test_a_copy_may_be_a_little_off():
    train = torch.tensor([[0.0], [1.0]])
    found = nearest(torch.tensor([[0.24], [0.26], [-0.4], [-0.6]]), train, count=2)
    assert is_copy(found).tolist() == [True, False, True, False]


def test_p_value_is_fishers():
    train = torch.rand(300, 2)
    test = torch.rand(60, 2)
    generated = torch.cat([torch.rand(45, 2), train[:8] + 1e-5])
    evidence = points(train, test, generated)
    found = copies(evidence)
    seen = round(found.value * 53)
    by_chance = round(found.details["held_out"] * 60)
    assert 8 <= seen < 30
    assert by_chance > 0
    table = [[seen, 53 - seen], [by_chance, 60 - by_chance]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert found.details["p_value"] == pytest.approx(expected, rel=1e-9)
    assert copies_p(evidence).value == found.details["p_value"]


def test_true_draws_have_a_p_value_below_a_level_at_most_that_often():
    train = torch.rand(400, 2)
    p = [copies_p(points(train, torch.rand(150, 2), torch.rand(120, 2))).value for _ in range(250)]
    for level in (0.05, 0.2):
        assert np.mean(np.array(p) < level) < level + 2 * math.sqrt(level * (1 - level) / 250)


def test_a_share_has_a_binomial_error_and_pairs_by_its_halves():
    train = torch.rand(300, 2)
    found = copies(points(train, torch.rand(60, 2), torch.cat([torch.rand(60, 2), train[:40]])))
    assert found.standard_error == pytest.approx(math.sqrt(found.value * (1 - found.value) / 100))
    assert found.low < found.value < found.high
    assert len(found.details["half_samples"]["values"]) == 30


@pytest.mark.parametrize("name", ["digits", "ring"])
def test_the_memoriser_is_flagged_in_every_seed_and_the_data_are_not(name):
    data = load_dataset(name)
    network = load_network(data.network) if data.network else "points"
    for seed in range(3):
        for model, flagged in [(HeldOutData(data.spec), False), (Memoriser(data.spec), True)]:
            with fork_rng(seed):
                model.fit(data.train, data.validation, 1.0, None)
                generated = model.sample(400)
            evidence = replace(
                images_evidence(data.test[:400], generated, network, seed),
                spec=data.spec,
                train=data.train,
            )
            found = copies(evidence)
            assert found.details["flagged"] == flagged
            assert (found.value == 1) == flagged
            assert (nn_distance_ratio(evidence).value < 0.01) == flagged
            assert (authenticity(evidence).value < 0.01) == flagged
