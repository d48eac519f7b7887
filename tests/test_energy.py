import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy import stats
from scipy.spatial.distance import cdist

from benchmark.data.mixture import ring
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.energy import energy_distance, measure


def direct(x, y):
    """The double sums, pairs of an example with itself left out."""
    n, m = len(x), len(y)
    within = cdist(x, x).sum() / (n * (n - 1)) + cdist(y, y).sum() / (m * (m - 1))
    return 2 * cdist(x, y).mean() - within


@pytest.mark.parametrize(("n", "m", "dims"), [(9, 9, 1), (40, 23, 2), (15, 30, 6)])
def test_is_the_double_sum(n, m, dims):
    real, generated = torch.randn(n, dims).double() + 5, torch.rand(m, dims).double() * 3
    found = energy_distance(real=real, generated=generated)
    assert found == pytest.approx(direct(real.numpy(), generated.numpy()), rel=1e-9)


def test_in_one_dimension_it_is_the_square_of_scipys_less_its_bias():
    # scipy takes whole distributions: pairs of an example with itself count, as distance zero.
    real, generated = torch.randn(300, 1).double(), torch.randn(200, 1).double() * 2 + 1
    x, y = real.flatten().numpy(), generated.flatten().numpy()
    own = sum(cdist(z[:, None], z[:, None]).mean() / (len(z) - 1) for z in (x, y))
    expected = stats.energy_distance(x, y) ** 2 - own
    assert energy_distance(real=real, generated=generated) == pytest.approx(expected, rel=1e-9)


def test_is_unbiased_for_equal_distributions():
    found = [
        energy_distance(real=torch.randn(20, 2), generated=torch.randn(20, 2)) for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / 20)
    assert min(found) < 0


def test_of_distant_points_is_twice_their_distance():
    real, generated = torch.zeros(50, 2), torch.zeros(50, 2) + torch.tensor([3.0, 4.0])
    assert energy_distance(real=real, generated=generated) == pytest.approx(10)


def test_samples_of_the_truth_are_at_zero_and_missing_modes_are_not():
    mixture = ring()
    real, fresh = (mixture.sample(1000).float() for _ in range(2))
    perfect = measure(points_evidence(real, fresh, modes=mixture))
    assert abs(perfect.value) < 3 * perfect.standard_error
    others = fresh[mixture.assign(fresh).mode > 1]
    found = measure(points_evidence(real, others, modes=mixture))
    assert found.value > 4 * found.standard_error
    assert found.n == len(others)


def test_error_is_near_the_spread_over_fresh_samples():
    found = [
        measure(
            points_evidence(torch.randn(150, 2), torch.randn(150, 2) + 1, modes=ring(), seed=seed)
        )
        for seed in range(60)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.3)
    assert len(found[0].details["half_samples"]["values"]) == 30


def test_is_asked_of_points_with_known_modes_only():
    points, images = torch.randn(20, 2), random_images(20)
    for evidence in (points_evidence(points, points), images_evidence(images, images)):
        with pytest.raises(NotApplicable, match="mixture with known modes"):
            measure(evidence)
