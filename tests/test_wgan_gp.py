import pytest
import torch
from test_train import Notes, examples

import zoo.wgan_gp
from benchmark.spec import DataSpec
from zoo.wgan_gp import WGANGP, gradient_penalty


def test_a_linear_critic_is_penalised_by_the_distance_of_its_slope_from_one():
    weight = torch.tensor([[1.5, -0.7], [0.3, 2.0]], dtype=torch.float64, requires_grad=True)
    real, generated = torch.randn(2, 6, 2, 2, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: (x * weight).sum(dim=(1, 2)) + 3, real, generated)
    norm = weight.detach().norm()
    torch.testing.assert_close(penalty, (norm - 1).square())
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * (norm - 1) * weight.detach() / norm)


def test_any_critic_is_penalised_by_its_slope_between_the_pairs():
    mixing = torch.randn(3, 3, dtype=torch.float64)

    def critic(x):
        return (x @ mixing).tanh().sum(dim=1) + x.prod(dim=1)

    real, generated = torch.randn(2, 5, 3, dtype=torch.float64)
    torch.manual_seed(11)
    penalty = gradient_penalty(critic, real, generated)

    torch.manual_seed(11)
    share = torch.rand(5, 1, dtype=torch.float64)
    between = share * real + (1 - share) * generated
    small = 1e-6
    slopes = [
        (critic(between + small * axis) - critic(between - small * axis)) / (2 * small)
        for axis in torch.eye(3, dtype=torch.float64)
    ]
    norms = torch.stack(slopes, dim=1).norm(dim=1)
    torch.testing.assert_close(penalty, (norms - 1).square().mean(), rtol=1e-7, atol=1e-7)


def test_each_image_has_one_share_for_all_its_pixels():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.sum(dim=(1, 2, 3))

    gradient_penalty(critic, torch.ones(4, 1, 3, 3), torch.zeros(4, 1, 3, 3))
    pixels = seen[0].flatten(1)
    assert torch.equal(pixels, pixels[:, :1].expand(4, 9))
    assert len(pixels[:, 0].unique()) == 4


def test_the_critic_descends_on_minus_the_distance_plus_the_penalty(monkeypatch):
    monkeypatch.setattr(zoo.wgan_gp, "gradient_penalty", lambda *inputs: torch.tensor(0.4))
    model = WGANGP(DataSpec((2,)), penalty=5.0, width=4)
    real, generated = torch.randn(2, 6, 2)
    distance, loss = model.critic_losses(real, generated)
    expected = model.critic(real).mean() - model.critic(generated).mean()
    torch.testing.assert_close(distance, expected)
    torch.testing.assert_close(loss, 5.0 * 0.4 - expected)


def test_the_critic_takes_its_steps_before_each_step_of_the_generator(monkeypatch):
    penalties = []

    def counted(*inputs):
        penalties.append(gradient_penalty(*inputs))
        return penalties[-1]

    monkeypatch.setattr(zoo.wgan_gp, "gradient_penalty", counted)
    spec = DataSpec((1, 2, 2), levels=3)
    model = WGANGP(spec, critic_steps=4, steps=3, width=4, batch_size=5)
    model.fit(examples(spec), examples(spec), 1.0, Notes())
    assert len(penalties) == 12


def test_at_least_one_critic_step_is_asked_for():
    with pytest.raises(ValueError, match="critic_steps must be at least 1, got 0"):
        WGANGP(DataSpec((2,)), critic_steps=0)
