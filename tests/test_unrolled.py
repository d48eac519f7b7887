"""Unrolled steps: their values against the optimiser's, their slopes against differences."""

import pytest
import torch
from torch import nn

from zoo.gan import LOSSES
from zoo.players import Players, Rules
from zoo.train import adam, descend
from zoo.unrolled import unrolled


def quadratic(centre):
    def loss(parameters):
        return sum(
            (scale * (value - centre).square()).sum() + (value - centre).pow(4).sum()
            for scale, value in zip((0.3, 2.0), parameters.values(), strict=True)
        )

    return loss


def parameters():
    return {
        "first": nn.Parameter(torch.randn(3, 2, dtype=torch.float64)),
        "second": nn.Parameter(torch.randn(4, dtype=torch.float64)),
    }


@pytest.mark.parametrize("before", [0, 3])
def test_unrolled_steps_are_the_optimisers_own(before):
    moved = parameters()
    optimiser = adam(moved.values(), 0.05, betas=(0.5, 0.9))
    loss = quadratic(torch.tensor(0.7))
    for _ in range(before):  # so that there are moments to start from
        descend(optimiser, loss(moved))
    ahead = unrolled(loss, moved, optimiser, steps=4)
    for _ in range(4):
        descend(optimiser, loss(moved))
    for name, value in ahead.items():
        torch.testing.assert_close(value.detach(), moved[name].detach(), rtol=1e-5, atol=1e-7)


def test_looking_ahead_moves_nothing():
    moved = parameters()
    optimiser = adam(moved.values(), 0.05)
    loss = quadratic(torch.tensor(0.7))
    descend(optimiser, loss(moved))
    before = [value.clone() for value in moved.values()]
    moments = [optimiser.state[value]["exp_avg_sq"].clone() for value in moved.values()]
    unrolled(loss, moved, optimiser, steps=3)
    for value, old in zip(moved.values(), before, strict=True):
        assert torch.equal(value, old)
    for value, old in zip(moved.values(), moments, strict=True):
        assert torch.equal(optimiser.state[value]["exp_avg_sq"], old)


def test_a_parameter_without_a_slope_does_not_break_those_of_others():
    moved = {**parameters(), "idle": nn.Parameter(torch.ones(2, dtype=torch.float64))}
    centre = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def loss(current):
        moving = {name: value for name, value in current.items() if name != "idle"}
        return quadratic(centre)(moving) + 0 * current["idle"].sum()

    ahead = unrolled(loss, moved, adam(moved.values(), 0.05), steps=2)
    (slope,) = torch.autograd.grad(sum(value.sum() for value in ahead.values()), centre)
    assert slope.isfinite()


def players(rules, copies=2):
    """Small and smooth, in double precision, some turns into their game."""
    made = Players(
        [nn.Linear(2, 2).double() for _ in range(copies)],
        [
            nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double()
            for _ in range(copies)
        ],
        rules,
        learning_rate=0.03,
        betas=(0.5, 0.9),
    )
    for _ in range(3):
        made.turn(lambda: draw(copies), lambda: draw(copies))
    return made


def draw(copies, n=6):
    return torch.randn(copies, n, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(LOSSES["non_saturating"], unroll=1),
        Rules(LOSSES["minimax"], unroll=5),
        Rules(LOSSES["least_squares"], "two_sided", 0.3, unroll=2),
    ],
    ids=lambda rules: f"{rules.unroll} {rules.penalty}",
)
def test_the_slope_of_the_unrolled_objective_agrees_with_differences(rules):
    game = players(rules)
    real, latents = draw(2), draw(2)
    weight = game.generators.stacked()["weight"]

    def objective():
        torch.manual_seed(5)  # the penalty draws its points
        return game.deception(real, game.generators(latents)).sum()

    (slope,) = torch.autograd.grad(objective(), weight)
    small = 1e-5
    for place in ((0, 0, 1), (1, 1, 0), (1, 0, 0)):
        values = []
        for change in (small, -small):
            with torch.no_grad():
                weight[place] += change
            values.append(objective().item())
            with torch.no_grad():
                weight[place] -= change
        difference = (values[0] - values[1]) / (2 * small)
        assert slope[place].item() == pytest.approx(difference, rel=1e-5, abs=1e-9)


def test_the_slope_goes_through_the_discriminators_steps():
    game = players(Rules(LOSSES["non_saturating"], unroll=5))
    real, generated = draw(2), draw(2).requires_grad_()
    (through,) = torch.autograd.grad(game.deception(real, generated).sum(), generated)
    ahead = unrolled(
        lambda parameters: game.total(game.terms(real, generated.detach(), parameters)),
        game.discriminators.stacked(),
        game.optimisers[1],
        steps=5,
    )
    deception = LOSSES["non_saturating"].generator(game.judge(generated, ahead))
    (past,) = torch.autograd.grad(deception.sum(), generated)
    torch.testing.assert_close(game.deception(real, generated), deception)
    assert (through - past).norm() > 0.01 * past.norm()
