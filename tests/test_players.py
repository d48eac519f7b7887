import pytest
import torch
from torch import nn

import zoo.players
from zoo.gan import LOSSES
from zoo.players import Players, Rules, packed

COPIES, BATCH = 2, 6


def players(pack=1, latents=3, **rules):
    return Players(
        [nn.Linear(latents, 2) for _ in range(COPIES)],
        [nn.Sequential(nn.Linear(2 * pack, 1), nn.Flatten(0)) for _ in range(COPIES)],
        Rules(LOSSES[rules.pop("loss", "non_saturating")], pack=pack, **rules),
        learning_rate=0.1,
        betas=(0.5, 0.9),
    )


def turn(game, real=None):
    return game.turn(
        lambda: torch.randn(COPIES, BATCH, 2) if real is None else real,
        lambda: torch.randn(COPIES, BATCH, 3),
    )


def judged(game, monkeypatch):
    """The inputs of the discriminators, in the order of the calls."""
    seen = []
    judge = game.judge
    monkeypatch.setattr(
        game, "judge", lambda packs, given=None: seen.append(packs.detach()) or judge(packs, given)
    )
    return seen


def test_packs_hold_whole_examples_side_by_side():
    points = torch.arange(24.0).view(2, 4, 3)
    assert packed(points, 2).tolist() == [
        [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]],
        [[12, 13, 14, 15, 16, 17], [18, 19, 20, 21, 22, 23]],
    ]
    images = torch.randn(2, 6, 3, 5, 4)
    packs = packed(images, 3)
    assert packs.shape == (2, 2, 9, 5, 4)
    assert torch.equal(packs[1, 1, 3:6], images[1, 4])


def test_the_discriminator_sees_the_packed_batch(monkeypatch):
    game = players(pack=3)
    real = torch.randn(COPIES, BATCH, 2)
    made = []
    game.generators.register_forward_hook(lambda _, __, points: made.append(points.detach()))
    seen = judged(game, monkeypatch)
    turn(game, real)
    (real_packs, generated_packs), deceiving_packs = seen[0].chunk(2, dim=1), seen[1]
    assert real_packs.shape == (COPIES, BATCH // 3, 6)
    assert torch.equal(real_packs.reshape(COPIES, BATCH, 2), real)
    assert torch.equal(generated_packs.reshape(COPIES, BATCH, 2), made[0])
    assert torch.equal(deceiving_packs, generated_packs)


@pytest.mark.parametrize("penalty", ["two_sided", "dragan"])
def test_the_slope_is_penalised_at_whole_packs(penalty, monkeypatch):
    game = players(pack=2, penalty=penalty, penalty_weight=1.0)
    seen = judged(game, monkeypatch)
    turn(game)
    both, penalised, deceiving = (packs.shape for packs in seen)
    assert both == (COPIES, BATCH, 4)
    assert penalised == deceiving == (COPIES, BATCH // 2, 4)


def test_the_discriminator_takes_its_steps_on_new_batches_before_the_generators(monkeypatch):
    game = players(critic_steps=4)
    seen = judged(game, monkeypatch)
    order = []
    monkeypatch.setattr(zoo.players, "descend", lambda adam, loss: order.append(adam))
    turn(game)
    generator, discriminator = game.optimisers
    assert order == [discriminator] * 4 + [generator]
    assert len({tuple(packs[:, :BATCH].flatten().tolist()) for packs in seen[:4]}) == 4


def test_each_player_moves_in_its_own_step_only():
    game = players()
    before = [value.detach().clone() for value in game.parameters()]
    real, generated = torch.randn(COPIES, BATCH, 2), torch.randn(COPIES, BATCH, 2)
    zoo.players.descend(game.optimisers[1], game.total(game.terms(real, generated)))
    count = len(list(game.generators.parameters()))
    moved = [
        not torch.equal(value, old) for value, old in zip(game.parameters(), before, strict=True)
    ]
    assert moved == [False] * count + [True] * (len(moved) - count)


def test_the_discriminator_descends_on_its_loss_plus_the_weighted_penalty():
    game = players(penalty="two_sided", penalty_weight=5.0)
    real, generated = torch.randn(2, COPIES, BATCH, 2)
    terms = game.terms(real, generated)
    expected = LOSSES["non_saturating"].discriminator(game.judge(real), game.judge(generated))
    torch.testing.assert_close(terms["discriminator"], expected)
    total = terms["discriminator"] + 5.0 * terms["penalty"]
    torch.testing.assert_close(game.total(terms), total.sum())


def test_a_clipped_discriminator_stays_within_its_bound():
    game = players(loss="wasserstein", clip=0.02)
    turn(game)
    assert max(value.abs().max() for value in game.discriminators.stacked().values()) <= 0.02
    assert max(value.abs().max() for value in game.generators.stacked().values()) > 0.02


def test_a_spectral_discriminator_has_slopes_of_one_per_layer():
    game = players(loss="hinge", spectral=True)
    for _ in range(30):
        turn(game)
    points = torch.randn(COPIES, BATCH, 2, requires_grad=True)
    (slopes,) = torch.autograd.grad(game.judge(points).sum(), points)
    torch.testing.assert_close(slopes.norm(dim=2), torch.ones(COPIES, BATCH))


def test_copies_do_not_learn_from_each_other():
    """One of two games gets other data: its twin's weights do not depend on them."""

    def weights(change):
        torch.manual_seed(4)
        game = players(unroll=2, penalty="dragan", penalty_weight=0.1)
        for _ in range(3):
            real = torch.randn(COPIES, BATCH, 2)
            real[1] = change(real[1])
            turn(game, real)
        return [value.detach() for value in game.generators.stacked().values()]

    for plain, changed in zip(weights(lambda x: x), weights(lambda x: 3 * x + 1), strict=True):
        torch.testing.assert_close(plain[0], changed[0])
        assert not torch.allclose(plain[1], changed[1])
