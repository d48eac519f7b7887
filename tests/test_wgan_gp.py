import pytest
import torch
from test_train import Notes, examples

from benchmark.spec import DataSpec
from zoo.gan import GAN, LOSSES
from zoo.wgan_gp import WGANGP


def test_it_is_the_wasserstein_gan_with_the_two_sided_penalty():
    rules = WGANGP(DataSpec((2,)), penalty=5.0, critic_steps=3, width=4).rules
    assert rules.loss is LOSSES["wasserstein"]
    assert (rules.penalty, rules.penalty_weight, rules.critic_steps) == ("two_sided", 5.0, 3)
    assert not rules.spectral
    assert rules.clip is None


def test_the_critics_loss_is_minus_the_estimated_distance():
    real, generated = torch.randn(2, 3, 6)
    distance = real.mean(dim=1) - generated.mean(dim=1)
    torch.testing.assert_close(LOSSES["wasserstein"].discriminator(real, generated), -distance)
    torch.testing.assert_close(LOSSES["wasserstein"].generator(generated), -generated.mean(dim=1))


def test_the_gan_trains_the_same_critic_under_its_settings():
    spec = DataSpec((2,))
    weights = []
    for make in (
        lambda: WGANGP(spec, steps=3, width=4, latents=2, batch_size=8),
        lambda: GAN(
            spec,
            loss="wasserstein",
            penalty="two_sided",
            penalty_weight=0.1,
            critic_steps=2,
            learning_rate=4e-3,
            betas=(0.0, 0.9),
            decay_start=0.0,
            steps=3,
            width=4,
            latents=2,
            batch_size=8,
        ),
    ):
        torch.manual_seed(2)
        model = make()
        model.fit(examples(spec), examples(spec), 1.0, Notes())
        weights.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(*weights)


def test_at_least_one_critic_step_is_asked_for():
    with pytest.raises(ValueError, match="critic_steps must be at least 1, got 0"):
        WGANGP(DataSpec((2,)), critic_steps=0)
