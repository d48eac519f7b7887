from pathlib import Path

import pytest
import torch
from torch import nn

import zoo.loop
from benchmark.spec import DataSpec, TrainingDiverged
from zoo.gan import GAN
from zoo.train import adam, descend, linear_decay, scaled_steps, train
from zoo.vae import VAE
from zoo.vae_gan import VAEGAN
from zoo.wgan_gp import WGANGP

POINTS, IMAGES = DataSpec((2,)), DataSpec((1, 5, 4), levels=7)


class Interrupted(Exception):
    pass


class Notes:
    """A log that keeps its rows, and can break off in the middle of training."""

    precision = "32-true"

    def __init__(self, folder: Path | None = None, break_at: int | None = None) -> None:
        self.folder, self.break_at, self.rows = folder, break_at, {}

    def __call__(self, step, total, **losses):
        if step == self.break_at:
            raise Interrupted
        self.rows[step] = losses

    def snapshot(self, step, total, sample):
        pass


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(zoo.loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(zoo.loop, "FLUSH_STEPS", 5)


def examples(spec):
    if spec.is_image:
        return torch.randint(0, spec.levels, (60, *spec.shape), dtype=torch.uint8)
    return torch.randn(60, *spec.shape) * 3 + 1


def assert_same_state(first, second):
    for (name, one), two in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name


@pytest.mark.parametrize("spec", [POINTS, IMAGES], ids=["points", "images"])
@pytest.mark.parametrize("family", [GAN, WGANGP, VAE, VAEGAN])
def test_an_interrupted_training_ends_with_the_same_weights(family, spec, tmp_path, save_always):
    data = examples(spec)

    def fitted(log, seed):
        torch.manual_seed(seed)
        model = family(spec, steps=13, width=4, batch_size=8, latents=2)
        model.fit(data, data[:20], 1.0, log)
        return model

    whole = Notes()
    expected = fitted(whole, seed=3)
    broken = Notes(tmp_path, break_at=12)
    with pytest.raises(Interrupted):
        fitted(broken, seed=3)
    rest = Notes(tmp_path)
    # Another seed: whatever is drawn before the checkpoint is read must not matter.
    assert_same_state(fitted(rest, seed=4), expected)
    assert min(rest.rows) == 11
    assert {**broken.rows, **rest.rows} == whole.rows


@pytest.mark.parametrize("family", [GAN, WGANGP, VAE, VAEGAN])
def test_one_seed_gives_one_model_and_another_seed_another(family):
    def weights(seed):
        torch.manual_seed(seed)
        model = family(POINTS, steps=5, width=4, batch_size=8)
        model.fit(examples(POINTS), examples(POINTS), 1.0, Notes())
        return model

    assert_same_state(weights(1), weights(1))
    first, second = (nn.utils.parameters_to_vector(weights(s).parameters()) for s in (1, 2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("family", [GAN, WGANGP, VAE, VAEGAN])
def test_a_fitted_model_is_restored_from_its_state(family):
    model = family(POINTS, steps=2, width=4)
    model.fit(examples(POINTS), examples(POINTS), 1.0, Notes())
    restored = family(POINTS, steps=2, width=4)
    restored.load_state_dict(model.state_dict())
    draws = []
    for each in (model, restored.eval()):
        torch.manual_seed(5)
        draws.append(each.sample(2_100))
    assert torch.equal(*draws)
    assert draws[0].shape == (2_100, 2)


class Mean(nn.Module):
    """Learns the mean of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(5.0))

    def fit(self, log, losses=None, steps=60, **options):
        optimiser = torch.optim.SGD(self.parameters(), lr=0.05)

        def update(draw):
            loss = (draw() - self.value).square().mean()
            descend(optimiser, loss)
            self.history.append(self.value.item())
            return {"loss": loss if losses is None else next(losses)}

        self.history = []
        data = torch.zeros(10)
        train(
            self,
            update,
            optimisers=[optimiser],
            data=data,
            steps=steps,
            batch_size=4,
            log=log,
            **options,
        )
        return self


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_training_and_names_the_step(bad):
    losses = iter([torch.tensor(bad if step == 37 else 1.0) for step in range(1, 61)])
    log = Notes()
    with pytest.raises(TrainingDiverged, match=rf"loss 'loss' became {bad} at step 37"):
        Mean().fit(log, losses)
    assert max(log.rows) == 36


def test_a_checkpoint_of_another_length_is_not_continued(tmp_path, save_always):
    with pytest.raises(Interrupted):
        Mean().fit(Notes(tmp_path, break_at=60), steps=100)
    log = Notes(tmp_path)
    Mean().fit(log, steps=70)
    assert min(log.rows) == 1
    assert max(log.rows) == 70


def test_the_weights_of_the_lowest_validation_loss_are_kept():
    seen = []

    def validate(model):
        assert not model.training
        seen.append(model.value.item())
        return abs(model.value.item() - 1.0)  # passed on the way from 5 to 0

    model = Mean().fit(Notes(), validate=validate, validate_every=3)
    assert model.value.item() == min(seen, key=lambda value: abs(value - 1.0))
    assert len(seen) == 20
    assert not model.training


def test_the_best_weights_of_before_an_interruption_are_remembered(tmp_path, save_always):
    def validate(model):
        return abs(model.value.item() - 3.0)  # passed at about the fifth of sixty steps

    options = {"validate": validate, "validate_every": 1}
    whole = Mean().fit(Notes(), **options)
    with pytest.raises(Interrupted):
        Mean().fit(Notes(tmp_path, break_at=40), **options)
    assert Mean().fit(Notes(tmp_path), **options).value.item() == whole.value.item()


def test_the_average_follows_the_weights_faster_in_the_beginning():
    model = Mean().fit(Notes(), ema_decay=0.8)
    average = model.history[0]
    for count, value in enumerate(model.history[1:], start=1):
        decay = min(0.8, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * value
    assert model.value.item() == pytest.approx(average, rel=1e-5)


def test_buffers_end_as_they_are_and_not_averaged():
    model = Mean()
    model.register_buffer("steps", torch.zeros(()))

    def counted():
        while True:
            model.steps += 1
            yield torch.tensor(1.0)

    assert model.fit(Notes(), losses=counted(), ema_decay=0.8).steps.item() == 60


def test_descent_moves_and_grades_only_the_optimisers_own_parameters():
    ours, theirs = nn.Linear(2, 2), nn.Linear(2, 1)
    before = [parameter.clone() for parameter in (*ours.parameters(), *theirs.parameters())]
    descend(adam(ours.parameters(), 0.1), theirs(ours(torch.randn(5, 2))).square().mean())
    after = [*ours.parameters(), *theirs.parameters()]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [False] * 2 + [
        True
    ] * 2
    assert all(parameter.grad is None for parameter in theirs.parameters())


def test_linear_decay_starts_late_and_ends_at_zero():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=2.0)
    scheduler = linear_decay(optimiser, steps=10, start=0.6)
    rates = []
    for _ in range(11):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates == pytest.approx([2.0] * 7 + [1.5, 1.0, 0.5, 0.0])


def test_budgets_scale_the_length_and_must_be_positive():
    assert scaled_steps(1000, 0.05) == 50
    assert scaled_steps(3, 0.01) == 1
    with pytest.raises(ValueError, match="budget must be positive, got 0"):
        scaled_steps(10, 0)


def test_unknown_precision_is_refused():
    log = Notes()
    log.precision = "16-mixed"
    with pytest.raises(ValueError, match="precision must be '32-true' or 'bf16-mixed'"):
        Mean().fit(log)


def test_half_precision_trains_through_fabric():
    log = Notes()
    log.precision = "bf16-mixed"
    vae = VAE(IMAGES, steps=3, width=4)
    vae.fit(examples(IMAGES), examples(IMAGES), 1.0, log)
    assert len(log.rows) == 3
