import math

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy.spatial.distance import pdist

from benchmark.data.gaussians import Mixture
from benchmark.data.mixture import ring
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.support import (
    Collisions,
    collision_radius,
    collisions,
    measure,
    pair_distances,
    support_interval,
)

N = 600


def found_for(generated, seed=0, real=None):
    mixture = ring()
    torch.manual_seed(seed)
    real = mixture.sample(N).float() if real is None else real
    return measure(points_evidence(real, generated(mixture), modes=mixture))


def test_collisions_are_pairs_within_the_radius():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [3.0, 4.0]])
    assert collisions(pair_distances(points), 1.0) == Collisions(2, 6)
    assert collisions(pair_distances(points), 0.99) == Collisions(1, 6)
    ascending = sorted(math.dist(p, q) for i, p in enumerate(points) for q in points[:i])
    for count in range(1, 7):
        assert collision_radius(pair_distances(points), count) == pytest.approx(
            ascending[count - 1]
        )


@pytest.mark.parametrize("dims", [3, 40])
def test_distances_are_those_of_every_pair_once(dims):
    points = torch.randn(30, dims) + 100
    np.testing.assert_allclose(pair_distances(points), pdist(points.double().numpy()), rtol=1e-9)


def test_equally_probable_things_collide_as_birthdays_do():
    # 365 points, and no two of different days near each other: pairs over collisions is 365.
    days = torch.arange(365.0)[:, None] * torch.tensor([[1.0, 2.0]])
    rates = [
        collisions(pair_distances(days[torch.randint(365, (60,))]), 0.5).rate for _ in range(400)
    ]
    assert 1 / np.mean(rates) == pytest.approx(365, rel=0.06)


def test_the_perfect_sampler_has_the_support_of_real_data_and_its_interval_holds():
    found = [found_for(lambda truth: truth.sample(N).float(), seed) for seed in range(120)]
    assert np.mean([np.log(m.value) for m in found]) == pytest.approx(0, abs=0.05)
    assert np.mean([m.low <= 1 <= m.high for m in found]) >= 0.9
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("kept", [1, 4])
def test_missing_modes_lower_it_in_proportion(kept):
    def some(truth):
        mixture = Mixture(
            truth.means[:kept], truth.scales, torch.full((kept,), 1 / kept, dtype=torch.float64)
        )
        return mixture.sample(N).float()

    found = [found_for(some, seed) for seed in range(40)]
    assert np.mean([np.log(m.value) for m in found]) == pytest.approx(np.log(kept / 8), abs=0.12)
    assert np.mean([m.low <= kept / 8 <= m.high for m in found]) >= 0.85


def test_shrunken_modes_lower_it_by_their_volume():
    def shrunken(truth):
        return Mixture(truth.means, 0.5 * truth.scales, truth.weights).sample(N).float()

    found = [found_for(shrunken, seed).value for seed in range(20)]
    assert np.mean(found) == pytest.approx(0.25, rel=0.15)


def test_copies_of_few_examples_lower_it():
    # 800 different points are drawn from: their pairs collide on top of those of the truth.
    found = [
        found_for(lambda truth: truth.sample(800).float()[torch.randint(800, (N,))], seed)
        for seed in range(20)
    ]
    pairs, by_chance = N * (N - 1) / 2, N * 0.989 / 25
    expected = by_chance / (by_chance + 0.989**2 * pairs / 800)
    assert np.mean([m.value for m in found]) == pytest.approx(expected, rel=0.15)


def test_one_point_repeated_has_next_to_none():
    found = found_for(lambda truth: truth.means[:1].repeat(900, 1).float())
    assert found.value < 1e-3
    assert found.details["generated"] == {"count": 900 * 899 // 2, "pairs": 900 * 899 // 2}


def test_without_a_collision_the_value_is_a_lower_bound():
    found = found_for(lambda truth: truth.sample(12).float())
    assert found.meaning == "lower bound"
    assert (found.low, found.high) == (found.value, None)
    # Were the support that small, 3.0 collisions would have been expected, and none a 5 % event.
    pairs, real = found.details["generated"]["pairs"], found.details["real"]
    assert found.value == pytest.approx(pairs * real["count"] / real["pairs"] / 3.0, rel=0.1)


def test_samples_between_the_modes_are_not_support():
    def noisy(truth):
        return torch.cat([truth.means[:1].repeat(50, 1), 0.5 * torch.rand(900, 2)]).float()

    found = found_for(noisy)
    assert found.n == 50
    assert found.value < 1e-3
    with pytest.raises(NotApplicable, match="fewer than two samples"):
        found_for(lambda truth: torch.zeros(50, 2))


@pytest.mark.parametrize(("real", "count"), [(20, 15), (100, 3), (40, 160)])
def test_the_interval_is_exact_for_poisson_counts(real, count):
    # At either end a count as extreme as this has a probability of 2.5 %.
    low, high = support_interval(real=Collisions(real, 1000), generated=Collisions(count, 500))
    rng = np.random.default_rng(0)
    rates = rng.gamma(real, size=400_000)  # how far the radius grows until `real` pairs have come
    few = (rng.poisson(rates * 0.5 / low) <= count).mean()
    many = (rng.poisson(rates * 0.5 / high) >= count).mean()
    assert (few, many) == pytest.approx((0.025, 0.025), abs=0.002)


def test_needs_modes_points_and_enough_of_them():
    points, images = torch.randn(30, 2), random_images(30)
    for evidence in (points_evidence(points, points), images_evidence(images, images)):
        with pytest.raises(NotApplicable, match="between points of a set with known modes"):
            measure(evidence)
    with pytest.raises(NotApplicable, match="25 real examples or more"):
        found_for(lambda truth: truth.sample(50).float(), real=ring().sample(20).float())
