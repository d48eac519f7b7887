import pytest
import torch
from test_train import IMAGES, POINTS, Notes, examples
from torch import nn

from benchmark.spec import DataSpec, TrainingDiverged
from zoo.gan import GAN, LOSSES, discriminator_loss, minimax_loss, non_saturating_loss


def test_losses_are_the_cross_entropies_of_the_discriminators_probabilities():
    real, generated, other = (
        torch.randn(7).double(),
        torch.randn(9).double(),
        torch.randn(4).double(),
    )
    p_real, p_generated, p_other = real.sigmoid(), generated.sigmoid(), other.sigmoid()
    expected = -p_real.log().mean() - (1 - p_generated).log().mean()
    torch.testing.assert_close(discriminator_loss(real, generated), expected)
    expected = expected - (1 - p_other).log().mean()
    torch.testing.assert_close(discriminator_loss(real, generated, other), expected)
    torch.testing.assert_close(non_saturating_loss(generated), -p_generated.log().mean())
    torch.testing.assert_close(minimax_loss(generated), (1 - p_generated).log().mean())


def test_only_the_minimax_loss_saturates_where_samples_are_rejected():
    slopes = []
    for loss in (minimax_loss, non_saturating_loss):
        logits = torch.full((1,), -12.0, requires_grad=True)
        loss(logits).backward()
        slopes.append(logits.grad.item())
    assert slopes[0] == pytest.approx(0, abs=1e-5)
    assert slopes[1] == pytest.approx(-1, abs=1e-5)


def test_the_other_losses_are_their_papers():
    real, generated = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, -3.0, 1.0]])
    expected = {  # of the discriminator and of the generator
        "least_squares": ((1 + 4) / 4 + (0.25 + 9 + 1) / 6, (0.25 + 16 + 0) / 6),
        "wasserstein": (-1.5 / 3 - 0.5, 1.5 / 3),
        "hinge": ((0 + 2) / 2 + (1.5 + 0 + 2) / 3, 1.5 / 3),
    }
    for name, (discriminator, generator) in expected.items():
        loss = LOSSES[name]
        assert loss.discriminator(real, generated).tolist() == pytest.approx([discriminator])
        assert loss.generator(generated).tolist() == pytest.approx([generator])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_rewards_telling_data_from_samples_and_deceiving(name):
    loss = LOSSES[name]
    apart, mixed_up = torch.full((1, 4), 0.3), torch.full((1, 4), -0.3)
    assert loss.discriminator(apart, mixed_up) < loss.discriminator(mixed_up, apart)
    assert loss.generator(apart) < loss.generator(mixed_up)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"loss": "hing"}, "loss must be one of 'minimax', 'non_saturating', .*, got 'hing'"),
        ({"penalty": "one_sided"}, "'none' or one of 'two_sided', 'dragan', got 'one_sided'"),
        ({"critic_steps": 0}, "critic_steps must be at least 1, got 0"),
        ({"unroll": -1}, "unroll must not be negative, got -1"),
        ({"unroll": 1, "clip": 0.1}, "choose unroll or clip"),
        ({"pack": 3, "batch_size": 256}, "pack must divide the batch size 256, got 3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        GAN(DataSpec((2,)), **settings)


VARIANTS = [
    *({"loss": loss} for loss in LOSSES),
    {"penalty": "two_sided"},
    {"penalty": "dragan"},
    {"loss": "wasserstein", "clip": 0.1, "critic_steps": 2},
    {"loss": "hinge", "spectral": True},
    {"pack": 2},
    {"unroll": 2},
    {"ema_decay": 0.0},
]


@pytest.mark.parametrize("spec", [POINTS, IMAGES], ids=["points", "images"])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_trains_alone_and_together(settings, spec):
    models = [GAN(spec, steps=3, width=4, batch_size=8, latents=2, **settings) for _ in range(2)]
    before = [nn.utils.parameters_to_vector(model.parameters()) for model in models]
    logs = [Notes(), Notes()]
    models[0].fit_together(models, examples(spec), examples(spec), 1.0, logs)
    models[1].fit(examples(spec), examples(spec), 1.0, Notes())
    for model, old, log in zip(models, before, logs, strict=True):
        after = nn.utils.parameters_to_vector(model.parameters())
        assert after.isfinite().all()
        assert (after != old).float().mean() > 0.5
        assert list(log.rows) == [1, 2, 3]
    assert not torch.equal(models[0].sample(5), models[1].sample(5))


def test_a_loss_that_explodes_ends_training_by_name():
    model = GAN(POINTS, loss="kl", learning_rate=1e4, steps=60, width=4)
    with pytest.raises(TrainingDiverged, match=r"became (nan|inf|-inf) at step"):
        model.fit(examples(POINTS), examples(POINTS), 1.0, Notes())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 2), (3, 7, 9), (1, 28, 28), (3, 32, 32)])
def test_images_of_any_size_are_generated(shape):
    model = GAN(DataSpec(shape, levels=5), width=4, latents=3)
    images = model.sample(6)
    assert images.shape == (6, *shape)
    assert images.dtype == torch.uint8
    assert images.max() <= 4
    assert model.generate(torch.randn(2, 3, 3)).shape == (2, 3, *shape)


def test_every_level_can_be_generated_and_rounds_from_its_own_interval():
    scaling = GAN(DataSpec((1, 2, 2), levels=3), width=4).scaling
    edges = torch.tensor([-1.0, -0.34, -0.33, 0.33, 0.34, 1.0])
    assert scaling.quantised(scaling.inverse(edges)).tolist() == [0, 0, 1, 1, 2, 2]


def test_dequantised_images_fill_the_range_of_the_generator_and_keep_their_level():
    scaling = GAN(DataSpec((1, 2, 2), levels=3), width=4).scaling
    levels = torch.randint(0, 3, (5_000,), dtype=torch.uint8)
    spread = scaling.dequantised(levels)
    assert spread.min() > -1
    assert spread.max() < 1
    assert torch.equal(scaling.quantised(scaling.inverse(spread)), levels)
