"""Copies in training together, against each of them in training alone."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

import zoo.loop
from benchmark.spec import TrainingDiverged
from zoo.together import Together
from zoo.train import adam, descend, linear_decay, train_together

COPIES, STEPS = 3, 20


class Interrupted(Exception):
    pass


class Notes:
    """A log that keeps all it is told, looks at the steps of `looks`, and can break off."""

    precision = "32-true"

    def __init__(self, folder=None, break_at=None, looks=()):
        self.folder, self.break_at, self.looks = folder, break_at, looks
        self.rows, self.seen, self.told = {}, {}, None

    def __call__(self, step, total, **losses):
        if step == self.break_at:
            raise Interrupted
        self.rows[step] = losses

    def snapshot(self, step, total, sample):
        if step in self.looks:
            self.seen[step] = sample(5)

    def diverged(self, step, total, loss, value):
        assert total == STEPS
        self.told = (step, loss, value)


def network():
    return nn.Sequential(nn.Linear(2, 7), nn.Tanh(), nn.Linear(7, 3))


class Run:
    """Regression of noise on noise that is given, so that copies alone see what they would see."""

    def __init__(self, noise, spoil=None):
        torch.manual_seed(8)
        self.noise, self.spoil = noise, spoil  # [steps, S, n, 2]; (copy, step) with a NaN loss
        self.updates = 0
        everyone = [network() for _ in range(COPIES)]
        self.together = Together(everyone[: noise.shape[1]])

    def only(self, s):
        """The same run of one copy."""
        alone = Run(self.noise[:, s : s + 1])
        torch.manual_seed(8)
        alone.together = Together([[network() for _ in range(COPIES)][s]])
        return alone

    def train(self, logs, **options):
        optimiser = adam(self.together.parameters(), 0.05)
        scheduler = linear_decay(optimiser, STEPS)

        def update(draw):
            self.updates += 1
            step = scheduler.last_epoch
            inputs = self.noise[step] + 0 * draw()
            loss = (self.together(inputs) - inputs.sum(dim=2, keepdim=True)).square().mean((1, 2))
            if self.spoil is not None and step + 1 == self.spoil[1]:
                factors = torch.ones(len(loss))
                factors[self.spoil[0]] = math.nan
                loss = loss * factors
            descend(optimiser, loss.sum())
            return {"loss": loss}

        train_together(
            self.together,
            update,
            logs=logs,
            optimisers=[optimiser],
            schedulers=[scheduler],
            data=torch.randn(9, 2),
            steps=STEPS,
            batch_size=4,
            **options,
        )
        return self.together.stacked()


def given_noise():
    return torch.randn(STEPS, COPIES, 4, 2)


def logs_of(copies=COPIES, **options):
    return [Notes(**options) for _ in range(copies)]


@pytest.mark.parametrize("ema_decay", [None, 0.8])
def test_training_together_gives_what_training_alone_gives(ema_decay):
    run = Run(given_noise())
    logs = logs_of()
    found = run.train(logs, ema_decay=ema_decay)
    for s, log in enumerate(logs):
        (alone,) = own = logs_of(1)
        for name, expected in run.only(s).train(own, ema_decay=ema_decay).items():
            torch.testing.assert_close(found[name][s], expected[0])
        assert list(log.rows) == list(range(1, STEPS + 1))
        for step, row in alone.rows.items():
            assert log.rows[step] == pytest.approx(row, rel=1e-4)


def test_a_copy_that_diverges_leaves_the_others_as_they_would_have_been():
    noise = given_noise()
    whole = Run(noise).train(logs_of())
    logs = logs_of()
    found = Run(noise, spoil=(1, 7)).train(logs)
    for name, expected in whole.items():
        torch.testing.assert_close(found[name][[0, 2]], expected[[0, 2]])
        assert not found[name][1].isfinite().any()
    assert [max(log.rows) for log in logs] == [STEPS, 6, STEPS]
    assert logs[0].told is None
    assert logs[2].told is None
    step, loss, value = logs[1].told
    assert (step, loss) == (7, "loss")
    assert math.isnan(value)


def test_training_ends_once_every_copy_has_diverged(monkeypatch):
    monkeypatch.setattr(zoo.loop, "FLUSH_STEPS", 5)
    noise = given_noise()
    noise[6] = math.inf  # the seventh step, of all copies
    logs, run = logs_of(), Run(noise)
    run.train(logs)
    assert [log.told[0] for log in logs] == [7] * COPIES
    assert run.updates == 10


def test_a_single_copy_that_diverges_raises():
    noise = given_noise()[:, :1]
    with pytest.raises(
        TrainingDiverged, match=f"'loss' became nan at step 7 of {STEPS}"
    ) as caught:
        Run(noise, spoil=(0, 7)).train(logs_of(1))
    assert (caught.value.loss, caught.value.step, caught.value.steps) == ("loss", 7, STEPS)


def test_an_interrupted_training_goes_on_together_and_knows_who_diverged(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo.loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(zoo.loop, "FLUSH_STEPS", 5)
    noise = given_noise()
    expected = Run(noise, spoil=(1, 7)).train(logs_of(), ema_decay=0.8)
    with pytest.raises(Interrupted):
        Run(noise, spoil=(1, 7)).train(
            [Notes(tmp_path, break_at=12), Notes(), Notes()], ema_decay=0.8
        )
    logs = [Notes(tmp_path), Notes(), Notes()]
    found = Run(noise, spoil=(1, 7)).train(logs, ema_decay=0.8)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, equal_nan=True)
    rest = list(range(11, STEPS + 1))
    assert [list(log.rows) for log in logs] == [rest, [], rest]
    assert logs[1].told[:2] == (7, "loss")
    fewer = Run(noise[:, :2])
    fewer.train([Notes(tmp_path), Notes()])  # a checkpoint of three is none of two
    torch.testing.assert_close(
        fewer.together.stacked()["2.bias"][0],
        Run(noise[:, :2]).only(0).train(logs_of(1))["2.bias"][0],
    )


def test_snapshots_show_each_copy_with_its_averaged_weights_and_change_nothing():
    noise = given_noise()
    undisturbed = Run(noise).train(logs_of(), ema_decay=0.8)
    run, asked = Run(noise), []

    def sample(n):
        assert not run.together.training
        asked.append(n)
        weights = parameters_to_vector(run.together.parameters()).sum()
        return torch.arange(COPIES).view(-1, 1, 1).expand(COPIES, n, 1) + weights.detach()

    first = parameters_to_vector(run.together.parameters()).sum().item()
    logs = [Notes(looks=(0, STEPS)), Notes(looks=(STEPS,)), Notes(looks=(STEPS,))]
    found = run.train(logs, ema_decay=0.8, sample=sample)
    last = parameters_to_vector(run.together.parameters()).sum().item()
    assert asked == [5, 5]  # at two steps, once for all copies
    assert logs[0].seen[0].flatten().tolist() == pytest.approx([first] * 5)
    for s, log in enumerate(logs):
        assert log.seen[STEPS].flatten().tolist() == pytest.approx([last + s] * 5)
    for name, value in undisturbed.items():
        assert torch.equal(found[name], value)


def test_a_checkpoint_is_that_of_its_members_and_of_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo.loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(zoo.loop, "FLUSH_STEPS", 5)

    def first_step(names, **options):
        logs = [Notes(tmp_path / name, **options) for name in names]
        Run(given_noise()).train(logs)
        return min(logs[0].rows)

    for name in "abcde":
        (tmp_path / name).mkdir()
    with pytest.raises(Interrupted):
        first_step("abc", break_at=13)
    assert first_step("ade") == 1
    with pytest.raises(Interrupted):
        first_step("abc", break_at=13)
    assert first_step("abc") == 11


def test_each_copy_ends_with_the_weights_of_its_own_lowest_validation_loss():
    run, seen = Run(given_noise()), []
    wanted = torch.tensor([[3], [14], [STEPS]])  # steps at which copies are at their best

    def validate():
        assert not run.together.training
        seen.append(
            {name: value.detach().clone() for name, value in run.together.stacked().items()}
        )
        return (len(seen) - wanted.squeeze(1)).abs().float()

    found = run.train(logs_of(), ema_decay=0.8, validate=validate, validate_every=1)
    assert len(seen) == STEPS
    for name, value in found.items():
        for s, step in enumerate(wanted.flatten().tolist()):
            assert torch.equal(value[s], seen[step - 1][name][s])


def test_the_best_weights_of_each_copy_survive_an_interruption(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo.loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(zoo.loop, "FLUSH_STEPS", 5)
    noise = given_noise()

    def trained(logs):
        run = Run(noise)

        def validate():  # that of the first weights is the best of copy 0
            size = torch.stack(
                [value.flatten(1).sum(dim=1) for value in run.together.stacked().values()]
            )
            return size.sum(dim=0).detach() * torch.tensor([1.0, -1.0, 1.0])

        return run.train(logs, validate=validate, validate_every=2)

    whole = trained(logs_of())
    with pytest.raises(Interrupted):
        trained([Notes(tmp_path, break_at=12), Notes(), Notes()])
    for name, value in trained([Notes(tmp_path), Notes(), Notes()]).items():
        torch.testing.assert_close(value, whole[name])
