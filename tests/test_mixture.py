import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from benchmark.data import load_dataset
from benchmark.data.gaussians import Mixture
from benchmark.data.mixture import grid, high, lines, manifold, mixing, ring, ring_rare
from benchmark.metrics.base import KnownMixture

SETS = {made.__name__: made for made in (ring, ring_rare, grid, lines, manifold, high)}
PLANAR = ("ring", "ring_rare", "grid", "lines")
PERFECT = 1 - math.exp(-4.5)  # share of a planar Gaussian within three standard deviations


@pytest.fixture(params=SETS)
def mixture(request):
    return SETS[request.param]()


def skewed_mixture(apart=1.0) -> Mixture:
    """Three modes of unequal weight, in general position: turned and longer one way.

    They overlap, unless they lie `apart` times as far from each other.
    """
    means = torch.tensor([[0.3, -0.7], [1.6, 0.4], [-0.9, 1.1]], dtype=torch.float64)
    basis = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    scales = torch.tensor([0.7, 0.3], dtype=torch.float64)
    return Mixture(
        means * apart, scales, torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64), basis
    )


@cache
def stored(name):
    return load_dataset(name)


def covariance_of(mixture):
    basis = torch.eye(len(mixture.scales)) if mixture.basis is None else mixture.basis
    return basis.double() @ mixture.scales.square().diag() @ basis.T.double()


# The sets


def test_the_ring_has_eight_distinct_modes_on_the_unit_circle():
    means = ring().means
    distances = torch.cdist(means, means) + 9 * torch.eye(8)
    assert torch.allclose(means.norm(dim=1), torch.ones(8, dtype=torch.float64))
    assert distances.min().item() == pytest.approx(2 * math.sin(math.pi / 8))


def test_the_rare_ring_is_the_ring_with_a_mode_of_one_percent():
    rare = ring_rare()
    assert torch.equal(rare.means, ring().means)
    assert torch.equal(rare.scales, ring().scales)
    assert rare.weights.sort().values[:3].tolist() == [0.01, 0.04, 0.06]


def test_the_grid_has_its_corners_and_spacing():
    means = grid().means
    assert len(means.unique(dim=0)) == 25
    assert (means.min().item(), means.max().item()) == (-4, 4)
    assert torch.pdist(means).min().item() == 2


def test_the_lines_are_parallel_diagonal_and_one_apart():
    across = lines().means @ lines().basis[:, 0]
    assert across.tolist() == pytest.approx([-1.5, -0.5, 0.5, 1.5])
    assert (lines().means @ lines().basis[:, 1]).abs().max() < 1e-12
    assert covariance_of(lines()).diag().tolist() == pytest.approx([0.50005, 0.50005])


def test_the_manifold_is_a_plane_that_no_coordinate_lies_off():
    values = torch.linalg.eigvalsh(torch.cov(stored("manifold").train.double().T)).sqrt()
    assert values.tolist() == pytest.approx([0.05] * 8 + [1.0] * 2, rel=0.02)
    assert covariance_of(manifold()).diag().min() > 0.1


def test_the_high_modes_have_700_directions_of_1200_and_are_far_apart():
    mixture = high()
    values = torch.linalg.eigvalsh(covariance_of(mixture)).sqrt()
    assert values.tolist() == pytest.approx([0.01] * 500 + [1.0] * 700, rel=1e-9)
    assert covariance_of(mixture).diag().min() > 0.5
    assert torch.pdist(mixture.means).min() > 90
    between = (mixture.means[:-1] + mixture.means[1:]) / 2
    assert not mixture.assign(between).high_quality.any()


@pytest.mark.parametrize("dims", [2, 10, 1_200])
def test_the_basis_is_orthogonal(dims):
    basis = mixing(dims)
    torch.testing.assert_close(basis @ basis.T, torch.eye(dims).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_stored_points_are_those_of_the_mixture(name):
    data, mixture = stored(name), SETS[name]()
    assert isinstance(data.modes, KnownMixture)
    points = data.train[:4_000]
    mode = mixture.assign(points).mode
    shares = torch.bincount(mode, minlength=len(mixture.means)) / 4_000
    assert (shares - mixture.weights).abs().max() < 4 * math.sqrt(0.25 / 4_000)
    basis = torch.eye(len(mixture.scales)) if mixture.basis is None else mixture.basis
    offsets = (points - mixture.means[mode]) @ basis.double()
    spread = offsets.square().mean(dim=0).sqrt() / mixture.scales
    assert spread.tolist() == pytest.approx([1.0] * len(spread), abs=6 / math.sqrt(8_000))


# Density and entropy


@pytest.mark.parametrize(
    ("mixture", "reach", "step"),
    [
        (ring(), 1.1, 0.005),
        (grid(), 4.5, 0.025),
        (lines(), 6.0, 0.006),
        (skewed_mixture(), 6.0, 0.05),
    ],
    ids=["ring", "grid", "lines", "skewed"],
)
def test_the_density_integrates_to_one(mixture, reach, step):
    axis = torch.arange(-reach, reach, step, dtype=torch.float64)
    total = sum(
        mixture.log_prob(torch.cartesian_prod(part, axis)).exp().sum() for part in axis.split(50)
    )
    assert total.item() * step**2 == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("made", [skewed_mixture, lines, manifold])
def test_the_density_is_that_of_torchs_mixture(made):
    mixture = made()
    normal = torch.distributions.MultivariateNormal(mixture.means, covariance_of(mixture))
    choice = torch.distributions.Categorical(mixture.weights)
    expected = torch.distributions.MixtureSameFamily(choice, normal)
    x = mixture.sample(50)
    torch.testing.assert_close(mixture.log_prob(x), expected.log_prob(x))


def test_the_entropy_of_separate_modes_is_that_of_the_choice_and_of_one_mode(mixture):
    weights, dims = mixture.weights.numpy(), len(mixture.scales)
    volume = np.log(mixture.scales.numpy()).sum() + dims / 2 * math.log(2 * math.pi * math.e)
    assert mixture.entropy == pytest.approx(stats.entropy(weights) + volume, abs=1e-9)


@pytest.mark.parametrize("mixture", [ring_rare(), lines(), skewed_mixture(apart=40)])
def test_quadrature_gives_separate_modes_the_same_entropy(mixture):
    assert mixture._planar_entropy() == pytest.approx(mixture.entropy, abs=1e-9)


@pytest.mark.parametrize("made", [skewed_mixture, *SETS.values()])
def test_the_entropy_agrees_with_sampling(made):
    mixture = made()
    n = 1_000 if len(mixture.scales) > 10 else 100_000
    surprise = -mixture.log_prob(mixture.sample(n, torch.Generator().manual_seed(5)))
    error = surprise.std().item() / math.sqrt(n)
    assert mixture.entropy == pytest.approx(surprise.mean().item(), abs=4 * error)
    assert error < 0.004 * math.sqrt(len(mixture.scales) * 100_000 / n)


def test_the_entropy_of_overlapping_modes_in_space_is_not_made_up():
    means = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]).double()
    with pytest.raises(ValueError, match="is known in the plane, not in 3"):
        _ = Mixture(means, torch.ones(3).double(), torch.tensor([0.5, 0.5]).double()).entropy


def test_samples_have_the_moments_of_the_mixture():
    mixture, n = skewed_mixture(), 400_000
    x = mixture.sample(n, torch.Generator().manual_seed(6))
    mean = mixture.weights @ mixture.means
    centred = mixture.means - mean
    covariance = (centred.T * mixture.weights) @ centred + covariance_of(mixture)
    torch.testing.assert_close(x.mean(dim=0), mean, atol=0.01, rtol=0)
    torch.testing.assert_close(x.T.cov(), covariance, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_the_test_split_is_as_likely_as_the_entropy_says(name):
    data = stored(name)
    surprise = -data.mixture.log_prob(data.test[:2_500])
    error = surprise.std().item() / math.sqrt(2_500)
    assert surprise.mean().item() == pytest.approx(data.mixture.entropy, abs=4 * error)


# Modes


def test_a_perfect_sampler_scores_what_theory_says(mixture):
    found = mixture.assign(mixture.sample(4_000 if len(mixture.scales) > 10 else 40_000))
    assert mixture.perfect == PERFECT
    assert found.high_quality.double().mean().item() == pytest.approx(PERFECT, abs=0.003)
    assert found.mode.unique().tolist() == list(range(len(mixture.means)))


def test_the_threshold_is_three_in_the_plane_and_the_same_quantile_elsewhere():
    assert [SETS[name]().threshold for name in PLANAR] == pytest.approx([3] * 4, rel=1e-12)
    assert stats.chi(10).cdf(manifold().threshold) == pytest.approx(PERFECT, rel=1e-12)
    # 500 directions of sigma 0.01 add 0.05 to the square, with almost no variance.
    assert high().threshold ** 2 == pytest.approx(
        stats.chi2(700).isf(1 - PERFECT) + 0.05, rel=1e-4
    )


def test_squared_distances_have_the_chi_square_of_their_degrees():
    mixture = replace(skewed_mixture(apart=40), euclidean=True)
    mixture = replace(mixture, scales=torch.tensor([0.7, 0.6], dtype=torch.float64))
    n = 100_000
    component = torch.zeros(n, dtype=torch.int64)
    x = mixture.points(component, torch.randn(n, 2, dtype=torch.float64))
    squares = (mixture.whiten(x) - mixture.whiten(mixture.means[:1])).square().sum(dim=1)
    assert squares.mean().item() == pytest.approx(mixture.degrees, rel=0.02)
    assert squares.var().item() == pytest.approx(2 * mixture.degrees, rel=0.04)


def test_whitened_modes_have_unit_covariance():
    mixture = skewed_mixture(apart=40)
    component = torch.zeros(100_000, dtype=torch.int64)
    x = mixture.points(component, torch.randn(100_000, 2, dtype=torch.float64))
    torch.testing.assert_close(
        torch.cov(mixture.whiten(x).T), torch.eye(2).double(), atol=0.03, rtol=0
    )


@pytest.mark.parametrize("scale", [1 / math.sqrt(2), 25.0])
@pytest.mark.parametrize("made", [grid, lines, high])
def test_rescaling_space_changes_nothing(made, scale):
    mixture = made()
    samples = mixture.sample(300)
    scaled = replace(mixture, means=mixture.means * scale, scales=mixture.scales * scale)
    found, expected = scaled.assign(samples * scale), mixture.assign(samples)
    assert torch.equal(found.mode, expected.mode)
    assert torch.equal(found.high_quality, expected.high_quality)


def test_a_sample_counts_up_to_three_deviations_along_each_direction():
    mixture = Mixture(
        torch.zeros(1, 2).double(), torch.tensor([0.1, 2.0]).double(), torch.ones(1).double()
    )
    inside = torch.tensor([[0.299, 0.0], [0.0, -5.99], [-0.2, 4.0]])
    outside = torch.tensor([[0.301, 0.0], [0.0, 6.01], [0.25, 4.0], [5.99, 0.0]])
    assert mixture.assign(inside).high_quality.all()
    assert not mixture.assign(outside).high_quality.any()


def test_the_nearest_mode_is_nearest_in_deviations():
    means = torch.tensor([[0.0, 0.0], [1.0, 4.0]]).double()
    weights = torch.tensor([0.5, 0.5]).double()
    mixture = Mixture(means, torch.tensor([0.1, 4.0]).double(), weights)
    found = mixture.assign(torch.tensor([[0.9, 0.0]]))  # nearer to the first in plain distance
    assert found.mode.tolist() == [1]


def test_points_that_are_not_finite_are_near_no_mode():
    x = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [1.0, 0.0]])
    assert ring().assign(x).high_quality.tolist() == [False, False, True]


# Mistakes


def test_modes_given_twice_are_refused():
    angles = torch.linspace(0, 2 * math.pi, 8, dtype=torch.float64)  # its end is its start
    means = torch.stack([angles.cos(), angles.sin()], dim=1)
    with pytest.raises(ValueError, match="is one there twice"):
        replace(ring(), means=means)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weights": torch.ones(8).double()}, "sum to one"),
        ({"weights": torch.ones(7).double() / 7}, "8 positive numbers"),
        ({"weights": torch.tensor([0.0, 1.0, *[0.0] * 6]).double()}, "8 positive numbers"),
        ({"scales": torch.tensor([0.1, 0.0]).double()}, "2 positive numbers"),
        ({"scales": torch.tensor(0.1).double()}, "2 positive numbers"),
    ],
)
def test_wrong_weights_and_scales_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        replace(ring(), **change)


def test_points_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match=r"points must be \[n, 2\], got \[4, 3\]"):
        ring().assign(torch.zeros(4, 3))
