import math

import pytest
import torch

import zoo.exact
from benchmark.spec import DataSpec, Density, Trainable, TrainableTogether, TrainingDiverged
from benchmark.training_log import TrainingLog
from zoo.ar_mixture import AutoregressiveMixture
from zoo.realnvp import RealNVP
from zoo.train import descend

QUIET = TrainingLog(None, "32-true")
FAMILIES = [AutoregressiveMixture, RealNVP]


def scaled(model):
    """The model with a scaling in general position."""
    model.scaling.fit(torch.randn(300, *model.spec.shape) * torch.tensor([0.2, 5.0]) + 3)
    return model.requires_grad_(False)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_density_is_that_of_scaled_points_over_the_volume_of_the_scale(family):
    model = scaled(family(DataSpec((3, 2)), width=8))
    x = model.sample(5)
    assert x.shape == (5, 3, 2)
    standard = (x - model.scaling.shift) / model.scaling.scale
    expected = model.network(standard.flatten(1)) - model.scaling.scale.log().sum()
    torch.testing.assert_close(model.log_prob(x), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_log_prob_does_not_depend_on_how_many_points_are_computed_at_once(family, monkeypatch):
    model = scaled(family(DataSpec((2,)), width=8))
    x = model.sample(20)
    whole = model.log_prob(x)
    monkeypatch.setattr(zoo.exact, "CHUNK_NUMBERS", 3 * model.network.numbers)
    torch.testing.assert_close(model.log_prob(x), whole)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("capability", [Density, Trainable, TrainableTogether])
def test_the_families_have_a_density_and_learn_alone_or_together(family, capability):
    assert isinstance(family(DataSpec((2,)), width=8), capability)


@pytest.mark.parametrize("family", FAMILIES)
def test_several_train_at_once_each_to_its_own_fit(family):
    spread = torch.tensor([0.5, 2.0])
    data = torch.randn(2_000, 2) * spread + torch.tensor([3.0, -1.0])
    settings = {"steps": 80, "batch_size": 64, "width": 16, "learning_rate": 0.02}
    models = [family(DataSpec((2,)), **settings) for _ in range(3)]
    before = [-model.log_prob(data).mean().item() for model in models]
    models[0].fit_together(models, data, data[:100], 1.0, [QUIET] * 3)
    after = [-model.log_prob(data).mean().item() for model in models]
    entropy = (spread.log() + 1.418939).sum().item()
    assert all(value < earlier for value, earlier in zip(after, before, strict=True))
    assert after == pytest.approx([entropy] * 3, abs=0.4)
    assert len(set(after)) == 3


class Looking:
    """A log that looks at every step."""

    folder, precision = None, "32-true"

    def __init__(self):
        self.seen, self.told = {}, None

    def __call__(self, step, total, **losses): ...

    def snapshot(self, step, total, sample):
        self.seen[step] = sample(6)

    def diverged(self, step, total, loss, value):
        self.told = step


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("copies", [1, 3])
def test_weights_that_become_nan_end_their_training_and_no_look_at_it(family, copies, monkeypatch):
    steps = []

    def spoilt(optimiser, loss):
        descend(optimiser, loss)
        steps.append(loss)
        if len(steps) == 3:
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    parameter.data[0] = math.nan

    monkeypatch.setattr(zoo.exact, "descend", spoilt)
    models = [family(DataSpec((2,)), width=8, steps=6, batch_size=16) for _ in range(copies)]
    logs = [Looking() for _ in models]
    train = torch.randn(50, 2)
    if copies == 1:
        with pytest.raises(TrainingDiverged, match="at step 4 of 6"):
            models[0].fit(train, train, 1.0, logs[0])
    else:
        models[0].fit_together(models, train, train, 1.0, logs)
        assert [log.told for log in logs] == [4, None, None]
        assert logs[1].seen[6].isfinite().all()
    assert logs[0].seen[2].isfinite().all()
    assert logs[0].seen[3].isnan().all()
