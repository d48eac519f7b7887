import math

import pytest
import torch

from benchmark.conformance import check_model
from benchmark.spec import BoundedDensity, DataSpec, Density, LatentModel
from benchmark.training_log import TrainingLog
from zoo.mmd_gan import MMDGAN, Embedding, rational_quadratic, unbiased_squared_mmd, witness

QUIET = TrainingLog(None, "32-true")


def direct_kernel(p, q):
    square = sum((s - t) ** 2 for s, t in zip(p, q, strict=True))
    return sum(1 / (1 + square / (2 * b)) for b in (0.002, 0.02, 0.2, 2.0)) / 4


def direct_mmd(x, y):
    def mean_of_pairs(a):
        pairs = [direct_kernel(p, q) for i, p in enumerate(a) for j, q in enumerate(a) if i != j]
        return sum(pairs) / len(pairs)

    across = [direct_kernel(p, q) for p in x for q in y]
    return mean_of_pairs(x) + mean_of_pairs(y) - 2 * sum(across) / len(across)


def two_sets(n=7, m=9):
    """Unequal sizes for two networks, far from the origin."""
    return torch.randn(2, n, 3).double() * 1.4 + 50, torch.randn(2, m, 3).double() + 50.3


def test_the_kernel_is_the_mean_of_rational_quadratics_of_four_lengths():
    x, y = two_sets()
    found = rational_quadratic(x, y)
    assert found.shape == (2, 7, 9)
    expected = direct_kernel(x[1, 4].tolist(), y[1, 6].tolist())
    assert found[1, 4, 6].item() == pytest.approx(expected, rel=1e-9)


def test_is_the_direct_double_sum_for_each_network_at_unequal_sizes():
    x, y = two_sets()
    found = unbiased_squared_mmd(x, y)
    expected = [direct_mmd(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-8)


def test_is_zero_on_average_for_two_draws_of_one_distribution():
    values = unbiased_squared_mmd(torch.randn(2_000, 5, 2), torch.randn(2_000, 8, 2))
    error = values.std().item() / math.sqrt(len(values))
    assert values.mean().item() == pytest.approx(0, abs=4 * error)
    assert (values < 0).any()


def test_the_witness_is_the_direct_difference_of_means():
    x, y = two_sets()
    at = torch.randn(2, 4, 3).double() + 50
    found = witness(at, real=x, generated=y)
    towards, away = (
        sum(direct_kernel(at[1, 2].tolist(), p) for p in points[1].tolist()) / points.shape[1]
        for points in (x, y)
    )
    assert found.shape == (2, 4)
    assert found[1, 2].item() == pytest.approx(towards - away, rel=1e-8)


def test_the_mean_witness_at_real_less_that_at_samples_is_the_biased_discrepancy():
    x, y = two_sets()
    at_both = [witness(points, real=x, generated=y).mean(dim=1) for points in (x, y)]
    biased = [rational_quadratic(a, b).mean(dim=(1, 2)) for a, b in ((x, x), (y, y), (x, y))]
    torch.testing.assert_close(at_both[0] - at_both[1], biased[0] + biased[1] - 2 * biased[2])


class Doubled:
    """Features that are twice the data, of which every slope is known."""

    def __call__(self, x):
        return 2 * x


def test_the_penalty_is_that_of_the_witness_in_the_space_of_the_data():
    model = MMDGAN(DataSpec((3,)), width=4, penalty=0.7)
    # A single real and a single generated point at distance 2 r, and the penalty between them,
    # where the witness has slope 2 k'(.) towards each: by central differences.
    real, generated = torch.tensor([[[0.0, 0.0, 0.6]] * 2]), torch.tensor([[[0.0, 0.0, -0.6]] * 2])
    real, generated = real.double(), generated.double()

    def squared_slope_error(share):
        def value(height):
            point = [0.0, 0.0, 2 * height]
            return direct_kernel(point, [0.0, 0.0, 1.2]) - direct_kernel(point, [0.0, 0.0, -1.2])

        height = -0.6 + 1.2 * share
        return ((value(height + 1e-5) - value(height - 1e-5)) / 2e-5 - 1) ** 2

    torch.manual_seed(4)
    shares = torch.rand(1, 2, 1, dtype=torch.float64).flatten().tolist()
    torch.manual_seed(4)
    loss = model.critic_loss(Doubled(), real, generated)
    gap = unbiased_squared_mmd(2 * real, 2 * generated).item()
    penalty = sum(map(squared_slope_error, shares)) / 2
    assert loss.item() == pytest.approx(0.7 * penalty - gap, rel=1e-6)


def test_points_are_part_of_their_features_and_images_are_not():
    points = torch.randn(6, 3)
    found = Embedding(DataSpec((3,)), width=4)(points)
    assert found.shape == (6, 19)
    torch.testing.assert_close(found[:, :3], points)
    assert Embedding(DataSpec((1, 4, 4), levels=3), width=4)(torch.rand(6, 1, 4, 4)).shape == (
        6,
        16,
    )


def test_several_networks_are_trained_each_on_its_own():
    data = torch.randn(500, 2) + 3
    models = [MMDGAN(DataSpec((2,)), steps=5, batch_size=16, width=8) for _ in range(3)]
    before = [model.generator[0][0].weight.clone() for model in models]
    models[0].fit_together(models, data, data[:100], 1.0, [QUIET] * 3)
    after = [model.generator[0][0].weight for model in models]
    assert not any(map(torch.equal, before, after))
    assert not torch.allclose(after[0] - before[0], after[1] - before[1])


def test_training_brings_samples_to_the_data():
    data = torch.randn(2_000, 2) @ torch.tensor([[2.0, 1.0], [0.0, 0.5]]) + 10
    model = MMDGAN(DataSpec((2,)), steps=100, batch_size=32, width=32, ema_decay=0.9)
    before = (model.sample(2_000).mean(dim=0) - 10).norm().item()
    model.fit(data, data[:100], 1.0, QUIET)
    drawn = model.sample(2_000)
    assert before > 5
    torch.testing.assert_close(drawn.mean(dim=0), data.mean(dim=0), rtol=0, atol=1.5)
    assert drawn.std(dim=0).min() > 0.1


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 9), (1, 28, 28)])
def test_images_of_any_size_are_generated_and_trained_on(shape):
    model = MMDGAN(DataSpec(shape, levels=5), width=4, latents=3, batch_size=8, steps=2)
    images = torch.randint(0, 5, (40, *shape), dtype=torch.uint8)
    model.fit(images, images[:8], 1.0, QUIET)
    assert model.sample(6).shape == (6, *shape)
    assert model.sample(6).dtype == torch.uint8


def test_no_critic_steps_are_refused():
    with pytest.raises(ValueError, match="critic_steps must be at least 1, got 0"):
        MMDGAN(DataSpec((2,)), critic_steps=0)


@pytest.mark.parametrize("data", ["ring", "digits"])
def test_it_keeps_its_promises_and_claims_no_likelihood(data):
    assert not [check for check in check_model("zoo.mmd_gan:MMDGAN", data) if check.kept is False]
    assert not isinstance(MMDGAN(DataSpec((2,))), LatentModel | Density | BoundedDensity)
