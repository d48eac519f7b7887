import math

import pytest
import torch

from benchmark.conformance import check_model
from benchmark.spec import BoundedDensity, DataSpec, Density, LatentModel
from benchmark.training_log import TrainingLog
from zoo.gmmn import GMMN, mean_square, squared_mmd

WIDTHS = (0.3, 1.1, 4.0)
QUIET = TrainingLog(None, "32-true")


def direct_mmd(x, y, bandwidths):
    def mean_kernel(a, b):
        pairs = [
            math.exp(-sum((s - t) ** 2 for s, t in zip(p, q, strict=True)) / (2 * width))
            for p in a
            for q in b
            for width in bandwidths
        ]
        return sum(pairs) / (len(a) * len(b))

    x, y = x.tolist(), y.tolist()
    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def two_sets(n=9, m=13):
    return torch.randn(n, 3).double() * 1.4 + 5, torch.randn(m, 3).double() + 5.3


def test_is_the_direct_double_sum_at_unequal_sizes():
    real, generated = two_sets()
    found = squared_mmd(real=real, generated=generated, bandwidths=WIDTHS)
    assert found.item() == pytest.approx(direct_mmd(real, generated, WIDTHS), rel=1e-9)


def test_several_pairs_of_sets_are_compared_apart():
    pairs = [two_sets() for _ in range(3)]
    real, generated = (torch.stack(sets) for sets in zip(*pairs, strict=True))
    found = squared_mmd(real=real, generated=generated, bandwidths=WIDTHS)
    expected = [direct_mmd(x, y, WIDTHS) for x, y in pairs]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_is_never_negative_and_zero_for_equal_sets():
    real, generated = two_sets(4, 4)
    assert squared_mmd(real=real, generated=generated, bandwidths=WIDTHS) > 0
    same = squared_mmd(real=real, generated=real.flip(0), bandwidths=WIDTHS)
    assert same.item() == pytest.approx(0, abs=1e-12)


def test_its_gradient_is_the_slope_of_the_direct_double_sum():
    real, generated = two_sets()
    generated.requires_grad_()
    squared_mmd(real=real, generated=generated, bandwidths=WIDTHS).backward()
    nudge = torch.zeros_like(real[:1]).repeat(len(generated), 1)
    nudge[4, 1] = 1e-5
    with torch.no_grad():
        ends = [direct_mmd(real, generated + sign * nudge, WIDTHS) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-5
    assert generated.grad[4, 1].item() == pytest.approx(slope, rel=1e-6)


def test_the_loss_is_the_root_and_its_slope_stays_finite_for_equal_sets():
    model = GMMN(DataSpec((3,)), width=4)
    real, generated = two_sets()
    loss = model.loss(real[None], generated[None], WIDTHS)
    assert loss.shape == (1,)
    assert loss.item() == pytest.approx(math.sqrt(direct_mmd(real, generated, WIDTHS)), rel=1e-9)
    same = real.clone().requires_grad_()
    model.loss(real[None], same[None], WIDTHS).sum().backward()
    assert same.grad.isfinite().all()


def test_half_precision_around_the_loss_does_not_reach_it():
    model = GMMN(DataSpec((3,)), width=4)
    real, generated = (x.float() for x in two_sets())
    expected = squared_mmd(real=real, generated=generated, bandwidths=WIDTHS).sqrt()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.loss(real[None], generated[None], WIDTHS), expected[None])


def test_default_bandwidths_follow_the_scale_of_the_data():
    x = torch.randn(300, 2)
    assert mean_square(5 * x) == pytest.approx(25 * mean_square(x), rel=1e-5)
    pairs = torch.pdist(x).square().mean().item()
    assert mean_square(x) == pytest.approx(pairs, rel=1e-5)
    images = torch.randint(0, 7, (300, 1, 5, 4), dtype=torch.uint8)
    model = GMMN(DataSpec((1, 5, 4), levels=7), width=4)
    widths = model.bandwidths_for(images)
    unit = mean_square(model.scaling(images).flatten(1))
    assert [width / unit for width in widths] == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.4, 0.8])


def test_given_bandwidths_are_taken_as_they_are():
    assert GMMN(DataSpec((2,)), bandwidths=(3.0, 7.0)).bandwidths_for(torch.randn(5, 2)) == [3, 7]
    with pytest.raises(ValueError, match=r"bandwidths must be positive, got \(1.0, 0.0\)"):
        GMMN(DataSpec((2,)), bandwidths=(1.0, 0.0))


def test_equal_examples_give_no_bandwidth():
    with pytest.raises(ValueError, match="all training examples coincide"):
        mean_square(torch.ones(10, 2))


def test_training_brings_samples_to_the_data():
    torch.manual_seed(3)
    sign = torch.where(torch.rand(4_000, 1) < 0.25, -1.0, 1.0)
    data = sign * torch.tensor([3.0, 1.0]) + 0.3 * torch.randn(4_000, 2) + 10
    model = GMMN(DataSpec((2,)), steps=250, batch_size=128, width=64)
    model.fit(data, data[:100], 1.0, QUIET)
    drawn = model.sample(4_000)
    torch.testing.assert_close(drawn.mean(dim=0), data.mean(dim=0), rtol=0, atol=0.25)
    left = (drawn[:, 0] < 10).float().mean().item()
    assert left == pytest.approx(0.25, abs=0.06)
    near = (drawn - 10).norm(dim=1)
    assert near.median().item() == pytest.approx(math.sqrt(10), abs=0.4)


def test_several_networks_are_trained_each_on_its_own():
    data = torch.randn(500, 2) * torch.tensor([0.5, 2.0]) + 3
    models = [GMMN(DataSpec((2,)), steps=120, batch_size=64, width=32) for _ in range(3)]
    models[0].fit_together(models, data, data[:100], 1.0, [QUIET] * 3)
    drawn = torch.stack([model.sample(2_000) for model in models])
    torch.testing.assert_close(drawn.std(dim=1), data.std(dim=0).expand(3, 2), rtol=0.3, atol=0)
    weights = [model.generator[0][0].weight for model in models]
    assert not torch.allclose(weights[0], weights[1])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 9), (1, 28, 28), (3, 32, 32)])
def test_images_of_any_size_are_generated_and_trained_on(shape):
    model = GMMN(DataSpec(shape, levels=5), width=4, latents=3, batch_size=8, steps=2)
    images = torch.randint(0, 5, (40, *shape), dtype=torch.uint8)
    model.fit(images, images[:8], 1.0, QUIET)
    assert model.sample(6).shape == (6, *shape)
    assert model.sample(6).dtype == torch.uint8
    assert model.generate(torch.randn(2, 3, 3)).shape == (2, 3, *shape)


@pytest.mark.parametrize("data", ["ring", "digits"])
def test_it_keeps_its_promises_and_claims_no_likelihood(data):
    assert not [check for check in check_model("zoo.gmmn:GMMN", data) if check.kept is False]
    assert not isinstance(GMMN(DataSpec((2,))), LatentModel | Density | BoundedDensity)
