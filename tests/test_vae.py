import math
from itertools import product

import pytest
import torch
from joint_training import assert_each_copy_trains_to_its_own_weights
from test_train import Notes

from benchmark.estimators.importance import importance_weighted_bound
from benchmark.spec import DataSpec
from zoo.vae import VAE, Copies

TINY = DataSpec((1, 2, 2), levels=3)
EVERY_IMAGE = torch.tensor(list(product(range(3), repeat=4)), dtype=torch.uint8).view(81, 1, 2, 2)
GRID = torch.linspace(-8, 8, 2_001)[:, None]  # of a single latent variable


class Looking(Notes):
    """A log that keeps the last look at the samples, and is told of an end."""

    def __init__(self):
        super().__init__()
        self.told = None

    def snapshot(self, step, total, sample):
        self.seen = sample(4)

    def diverged(self, step, total, loss, value):
        self.told = (loss, step)


def in_general_position(spec):
    """A VAE with one latent variable, whose weights are large enough to matter."""
    model = VAE(spec, latents=1, width=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2).add_(0.1 * torch.randn_like(parameter))
        if not spec.is_image:
            model.scaling.fit(torch.randn(100, 2) * torch.tensor([0.5, 3.0]) + 2)
    return model.eval()


def exact_log_prob(model, x):
    """[n] log p(x) by the trapezoidal rule over z."""
    with torch.no_grad():
        log_joint = model.decode(GRID[:, None]).log_prob(x) + model.prior().log_prob(GRID)[:, None]
    return log_joint.double().logsumexp(dim=0) + math.log((GRID[1] - GRID[0]).item())


def test_probabilities_of_all_images_sum_to_one():
    model = in_general_position(TINY)
    assert exact_log_prob(model, EVERY_IMAGE).exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_the_density_of_points_integrates_to_one():
    model = in_general_position(DataSpec((2,)))
    draws = model.sample(2_000)
    low, high = draws.amin(dim=0) - 1, draws.amax(dim=0) + 1
    axes = [torch.linspace(a, b, 45) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    cell = math.prod((axis[1] - axis[0]).item() for axis in axes)
    total = exact_log_prob(model, torch.cartesian_prod(*axes)).exp().sum() * cell
    assert total.item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("spec", [TINY, DataSpec((2,))], ids=["images", "points"])
def test_the_bound_lies_below_the_exact_value_and_importance_sampling_closes_the_gap(spec):
    model = in_general_position(spec)
    x = EVERY_IMAGE[::7] if spec.is_image else model.sample(12)
    exact = exact_log_prob(model, x)
    with torch.no_grad():
        bounds = torch.stack([model.log_prob_bound(x) for _ in range(400)]).double()
        tight = importance_weighted_bound(model, x, model.prior().expand((len(x),)), 20_000)
    error = bounds.std(dim=0) / math.sqrt(len(bounds))
    assert (bounds.mean(dim=0) <= exact + 4 * error).all()
    assert (bounds.mean(dim=0) < exact).double().mean() > 0.9
    torch.testing.assert_close(tight, exact, atol=0.2, rtol=0)


@pytest.mark.parametrize("spec", [DataSpec((3, 7, 9), levels=5), DataSpec((2,))])
def test_decoding_broadcasts_over_leading_dimensions(spec):
    model = VAE(spec, latents=4, width=4)
    x, z = model.sample(6), torch.randn(5, 6, 4)
    together = model.decode(z)
    assert together.batch_shape == (5, 6)
    assert together.event_shape == spec.shape
    apart = torch.stack([model.decode(each).log_prob(x) for each in z])
    torch.testing.assert_close(together.log_prob(x), apart)
    assert model.decode(z[0, 0]).batch_shape == ()


def test_samples_of_images_are_integers_and_carry_observation_noise():
    model = in_general_position(DataSpec((1, 8, 8), levels=17))
    images = model.sample(10)
    assert images.dtype == torch.uint8
    assert images.max() <= 16
    same_z = model.decode(torch.zeros(2, 1)).sample()
    assert not torch.equal(*same_z)


def test_the_kl_term_grows_to_its_full_weight_during_the_warm_up():
    model = VAE(DataSpec((2,)), warm_up=0.5, width=4)
    model.fit(torch.randn(50, 2), torch.randn(50, 2), 8 / model.steps, Notes())
    weights = [model.kl_weight(done, 8) for done in range(8)]
    assert weights == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert VAE(DataSpec((2,)), warm_up=0.0, width=4).kl_weight(0, 8) == 1.0


def test_training_raises_the_bound_on_held_out_points():
    data = torch.randn(2_000, 1) * torch.tensor([[1.0, 0.1]]) + torch.tensor([[0.0, 3.0]])
    model = VAE(DataSpec((2,)), steps=150, width=16)
    model.fit(data[:1_500], data[1_500:], 1.0, Notes())
    with torch.no_grad():
        bound = model.log_prob_bound(data[1_500:]).mean().item()
    gaussian = -sum(math.log(scale * math.sqrt(2 * math.pi * math.e)) for scale in (1.0, 0.1))
    assert bound > gaussian


@pytest.mark.parametrize("spec", [DataSpec((3, 5, 4), levels=7), DataSpec((2,))])
def test_copies_have_the_terms_and_gradients_of_each_autoencoder_alone(spec):
    models = [VAE(spec, latents=3, width=6) for _ in range(3)]
    for model in models:  # an encoder that is all but certain, so that its draws do not matter
        with torch.no_grad():
            model.encoder.network[-1].bias[3:] = -20.0
            if not spec.is_image:
                model.log_scale.normal_()
    x = torch.stack([model.sample(8) for model in models])
    copies = Copies(models)
    together = torch.stack(copies.terms(x))  # [2, S]
    together.sum().backward()
    for s, model in enumerate(models):
        alone = torch.stack([term.mean() for term in model.terms(x[s])])
        torch.testing.assert_close(together[:, s], alone, rtol=1e-3, atol=1e-3)
        alone.sum().backward()
        for name, stacked in copies.decoders.stacked().items():
            expected = model.decoder.get_parameter(name).grad
            torch.testing.assert_close(stacked.grad[s], expected, rtol=0.01, atol=1e-3)
        if not spec.is_image:
            torch.testing.assert_close(
                copies.log_scales.grad[s], model.log_scale.grad, rtol=0.01, atol=1e-3
            )


@pytest.mark.parametrize("spec", [DataSpec((1, 5, 4), levels=7), DataSpec((2,))])
def test_several_train_at_once_each_to_its_own_weights(spec):
    models = [VAE(spec, steps=40, width=6, batch_size=16) for _ in range(3)]
    assert_each_copy_trains_to_its_own_weights(models, models[0].sample(300))
    assert all(torch.equal(model.scaling.scale, models[0].scaling.scale) for model in models)


def test_a_copy_that_diverges_does_not_keep_the_others_from_being_looked_at():
    models = [VAE(DataSpec((2,)), steps=30, width=6, batch_size=16) for _ in range(2)]
    with torch.no_grad():
        models[0].log_scale.fill_(torch.nan)
    logs = [Looking(), Looking()]
    models[0].fit_together(models, torch.randn(100, 2), torch.randn(50, 2), 1.0, logs)
    assert logs[0].told[0] == "loss"
    assert logs[1].told is None
    assert logs[1].seen.isfinite().all()
