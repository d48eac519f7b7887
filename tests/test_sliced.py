import math

import numpy as np
import ot
import pytest
import torch
from sample_evidence import points_evidence

from benchmark.metrics import sliced as module
from benchmark.metrics.sliced import (
    max_sliced,
    max_sliced_wasserstein,
    random_directions,
    sliced,
    sliced_wasserstein,
)
from benchmark.metrics.wasserstein import wasserstein2


def directions(count, width, seed=0):
    return random_directions(count, width, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 27), (12, 41)])
def test_equals_pot_with_the_same_directions(n, m):
    real, generated = torch.randn(n, 5).double() + 2, torch.randn(m, 5).double() * 1.7
    along = directions(120, 5)
    expected = ot.sliced_wasserstein_distance(
        real.numpy(), generated.numpy(), projections=along.numpy().T
    )
    found = sliced_wasserstein(real=real, generated=generated, directions=along)
    assert found == pytest.approx(expected, rel=1e-12)


def test_float32_vectors_far_from_the_origin_keep_five_digits():
    real, generated = torch.randn(500, 16) + 3e4, torch.randn(500, 16) * 1.02 + 3e4
    along = directions(50, 16)
    expected = sliced_wasserstein(
        real=real.double(), generated=generated.double(), directions=along
    )
    found = sliced_wasserstein(real=real, generated=generated, directions=along)
    assert found == pytest.approx(expected, rel=1e-5)


def test_of_gaussians_is_near_the_closed_form():
    # Along w the projections are N(w·m, w'Aw) and N(0, 1): the distance is that of two normals.
    shape, shift = torch.tensor([[2.0, 0.9], [0.0, 0.5]]).double(), torch.tensor([1.0, -0.4])
    real, generated = torch.randn(40_000, 2).double(), torch.randn(40_000, 2).double()
    along = directions(64, 2)
    spreads = (along @ shape.T).norm(dim=1)
    expected = ((along @ shift.double()).square() + (spreads - 1).square()).mean().sqrt()
    found = sliced_wasserstein(real=real, generated=generated @ shape + shift, directions=along)
    assert found == pytest.approx(expected.item(), rel=0.02)


def test_inputs_are_left_as_they_are():
    real, generated = torch.randn(20, 1), torch.randn(20, 1)
    kept = real.clone(), generated.clone()
    sliced_wasserstein(real=real, generated=generated, directions=torch.ones(1, 1))
    assert torch.equal(real, kept[0])
    assert torch.equal(generated, kept[1])


def test_is_zero_for_the_same_examples_in_another_order():
    real = torch.randn(50, 3)
    along = directions(20, 3)
    assert sliced_wasserstein(real=real, generated=real.flip(0), directions=along) == 0
    assert max_sliced_wasserstein(real=real, generated=real.flip(0), seed=0) == 0


def test_rejects_directions_of_another_width():
    with pytest.raises(ValueError, match="real has 2 and directions has 3"):
        sliced_wasserstein(
            real=torch.randn(4, 2), generated=torch.randn(4, 2), directions=directions(9, 3)
        )


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 37)])
def test_largest_equals_a_search_over_all_angles_in_the_plane(n, m):
    shape = torch.tensor([[1.2, 0.9], [-0.3, 0.5]]).double()
    real, generated = torch.randn(n, 2).double() + 5, torch.randn(m, 2).double() @ shape + 5.2
    angles = np.linspace(0, math.pi, 20_000)
    along = np.stack([np.cos(angles), np.sin(angles)])
    _, log = ot.sliced_wasserstein_distance(
        real.numpy(), generated.numpy(), projections=along, log=True
    )
    expected = log["projected_emds"].max() ** 0.5
    found = max_sliced_wasserstein(real=real, generated=generated, seed=0)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 27)])
def test_slopes_are_the_gradients_of_the_squared_distances(n, m):
    x, y = torch.randn(n, 5).double(), torch.randn(m, 5).double() * 1.7 + 0.5
    along = directions(3, 5).requires_grad_()
    sorted_rows = ((along @ z.T).sort(dim=1).values for z in (x, y))
    expected = module._squared_distances(*sorted_rows)
    (gradients,) = torch.autograd.grad(expected.sum(), along)
    pairs = module._quantile_pairs(n, m, x.device)
    squares, slopes = module._distances_and_slopes(x, y, along.detach(), pairs)
    torch.testing.assert_close(squares, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(slopes, gradients, rtol=1e-10, atol=1e-12)


def test_largest_finds_the_one_direction_that_differs_though_the_means_agree():
    axis = torch.nn.functional.normalize(torch.randn(30).double(), dim=0)
    real, noise = torch.randn(600, 30).double(), torch.randn(600, 30).double()
    generated = noise + 2 * (noise @ axis)[:, None] * axis  # three times as wide along the axis
    real, generated = real - real.mean(dim=0), generated - generated.mean(dim=0)
    on_axis = wasserstein2(real=(real @ axis)[:, None], generated=(generated @ axis)[:, None])
    found = max_sliced_wasserstein(real=real, generated=generated, seed=0)
    assert found >= on_axis
    assert found == pytest.approx(2, rel=0.15)


def test_the_four_stand_in_their_order():
    real, generated = torch.randn(80, 6), torch.randn(80, 6) * 1.5 + 0.3
    mean = sliced_wasserstein(real=real, generated=generated, directions=directions(300, 6))
    largest = max_sliced_wasserstein(real=real, generated=generated, seed=0)
    assert mean < largest < wasserstein2(real=real, generated=generated)


@pytest.mark.parametrize("measure", [sliced, max_sliced])
def test_error_is_near_the_spread_over_fresh_samples(monkeypatch, measure):
    monkeypatch.setattr(module, "DIRECTIONS", 50)
    monkeypatch.setattr(module, "MOST_FOR_HALVES", 30)
    monkeypatch.setattr(module, "STEPS", 5)
    found = [
        measure(points_evidence(torch.randn(80, 2), torch.randn(80, 2) * 2 + 1, seed=seed))
        for seed in range(15)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("measure", [sliced, max_sliced])
def test_measurement_repeats_and_keeps_its_halves(measure):
    evidence = points_evidence(torch.randn(90, 3), torch.randn(90, 3) + 1, seed=3)
    first, second = measure(evidence), measure(evidence)
    assert first == second
    assert first.n == 90
    assert len(first.details["half_samples"]["values"]) == 30
