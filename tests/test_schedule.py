import math

import numpy as np
import pytest
import torch

from benchmark.estimators.schedule import interpolated, place, schedule, shorter_runs


def pilot(n=3, knots=9):
    """Temperatures and spreads as a pilot run leaves them: uneven, and unlike between data."""
    betas = torch.rand(n, knots, dtype=torch.float64).sort(dim=1).values
    betas[:, 0], betas[:, -1] = 0.0, 1.0
    return betas, 10 ** (4 * torch.rand(n, knots, dtype=torch.float64) - 1)


def test_adaptive_steps_lose_equally_much():
    betas, spread = pilot()
    found = schedule("adaptive", 40, betas, spread)
    assert found.shape == (3, 41)
    assert (found.diff(dim=1) > 0).all()
    for own, knots, values in zip(found, betas, spread, strict=True):
        # The area under the spread up to each knot, between which it is taken as linear.
        heights = (values[1:] + values[:-1]) / 2
        area = np.concatenate([[0.0], (knots.diff() * heights).cumsum(dim=0)])
        losses = np.diff(np.interp(own, knots, area))
        np.testing.assert_allclose(losses, losses.mean(), rtol=1e-3)


def test_data_without_loss_get_a_schedule_all_the_same():
    betas, _ = pilot()
    found = schedule("adaptive", 7, betas, torch.zeros_like(betas))
    assert (found.diff(dim=1) > 0).all()


@pytest.mark.parametrize("name", ["adaptive", "sigmoid", "linear"])
@pytest.mark.parametrize("temperatures", [1, 2, 300])
def test_every_schedule_begins_at_zero_ends_at_one_and_rises(name, temperatures):
    found = schedule(name, temperatures, *pilot())
    assert found.dtype == torch.float64
    assert found.shape == (3, temperatures + 1)
    assert (found[:, 0] == 0).all()
    assert (found[:, -1] == 1).all()
    assert (found.diff(dim=1) > 0).all()


def test_the_sigmoid_is_that_of_its_formula():
    found = schedule("sigmoid", 8, *pilot())[1]
    rises = [1 / (1 + math.exp(-4 * (2 * k / 8 - 1))) for k in range(9)]
    expected = [(rise - rises[0]) / (rises[8] - rises[0]) for rise in rises]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_linear_steps_are_equal():
    found = schedule("linear", 5, *pilot())
    torch.testing.assert_close(found.diff(dim=1), torch.full((3, 5), 0.2, dtype=torch.float64))


def test_places_and_values_are_those_of_numpy():
    knots, table = pilot()
    values = torch.rand(3, 50, dtype=torch.float64)
    values[:, 0], values[:, 1] = 0.0, 1.0
    found = interpolated(table, place(knots, values))
    for own, at, column, heights in zip(found, values, knots, table, strict=True):
        np.testing.assert_allclose(own, np.interp(at, column, heights), rtol=1e-9)


def test_values_beyond_the_knots_are_those_at_the_ends():
    knots, table = pilot()
    found = interpolated(table, place(knots, torch.tensor([[-2.0, 5.0]]).expand(3, 2)))
    torch.testing.assert_close(found, table[:, [0, -1]])


def test_knots_that_coincide_give_finite_places():
    knots = torch.tensor([[0.0, 0.4, 0.4, 0.4, 1.0, 1.0]])
    found = place(knots, torch.tensor([[0.2, 0.4, 0.7, 1.0]]))
    assert found.isfinite().all()
    torch.testing.assert_close(interpolated(knots, found), torch.tensor([[0.2, 0.4, 0.7, 1.0]]))


def test_shorter_runs_halve_four_times_and_end_with_the_whole():
    assert shorter_runs(1000) == [63, 125, 250, 500, 1000]
    assert shorter_runs(6) == [2, 3, 6]
    assert shorter_runs(1) == [1]


@pytest.mark.parametrize(
    ("name", "temperatures", "complaint"),
    [("quadratic", 5, "no schedule named 'quadratic'; known: adaptive"), ("linear", 0, "got 0")],
)
def test_unknown_schedules_and_no_temperatures_are_refused(name, temperatures, complaint):
    with pytest.raises(ValueError, match=complaint):
        schedule(name, temperatures, *pilot())
