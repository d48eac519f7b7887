import pytest
import torch
from joint_training import assert_each_copy_trains_to_its_own_weights
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.functional import softplus

from benchmark.spec import BoundedDensity, DataSpec, Density, LatentModel
from zoo.vae_gan import VAEGAN, Copies, Terms

SPECS = [DataSpec((2,)), DataSpec((1, 5, 4), levels=7)]


@pytest.fixture(params=SPECS, ids=["points", "images"])
def spec(request):
    return request.param


def batch(spec):
    if spec.is_image:
        return torch.randint(0, spec.levels, (9, *spec.shape), dtype=torch.uint8)
    return torch.randn(9, *spec.shape)


def build(spec, **options):
    torch.manual_seed(1)
    return VAEGAN(spec, width=6, latents=3, **options)


def slopes(model, x):
    """Gradients of encoder, decoder and discriminator after one call, flattened."""
    torch.manual_seed(2)
    copies = Copies([model])
    copies.gradients(x.unsqueeze(0))
    return [
        torch.cat([p.grad.flatten() for p in network.parameters()]) for network in copies.networks
    ]


def alone(terms):
    """The terms of the only copy."""
    return Terms(**{name: value.squeeze(0) for name, value in vars(terms).items()})


def test_the_terms_are_those_of_the_paper(spec):
    model, x = build(spec), batch(spec)
    torch.manual_seed(2)
    terms = alone(Copies([model]).terms(x.unsqueeze(0)))

    torch.manual_seed(2)
    mean, log_scale = model.encoder.network(model.scaling(x)).chunk(2, dim=1)
    posterior = Independent(Normal(mean, log_scale.exp()), 1)
    reconstructed = model.generator(posterior.rsample())
    drawn = model.generator(torch.randn(9, 3))
    real = model.layer(model.scaling.dequantised(x))
    reconstructed, drawn = model.layer(reconstructed), model.layer(drawn)
    standard = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    feature_density = Independent(Normal(reconstructed, 1.0), 1)
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi)) * real.shape[1]
    torch.testing.assert_close(terms.prior, kl_divergence(posterior, standard).mean())
    torch.testing.assert_close(
        terms.likelihood, -feature_density.log_prob(real).mean() - constant, rtol=1e-4, atol=1e-4
    )
    discriminate = [
        softplus(-model.verdict(real)),
        softplus(model.verdict(reconstructed)),
        softplus(model.verdict(drawn)),
    ]
    torch.testing.assert_close(terms.adversarial, sum(loss.mean() for loss in discriminate))
    deceive = [softplus(-model.verdict(reconstructed)), softplus(-model.verdict(drawn))]
    torch.testing.assert_close(terms.deception, sum(loss.mean() for loss in deceive))


def test_gamma_weighs_the_decoders_loss_alone(spec):
    x = batch(spec)
    light, heavy = slopes(build(spec, gamma=0.1), x), slopes(build(spec, gamma=5.0), x)
    assert torch.equal(light[0], heavy[0])
    assert not torch.allclose(light[1], heavy[1])
    assert torch.equal(light[2], heavy[2])


def test_the_adversarial_loss_never_reaches_the_encoder(spec):
    x = batch(spec)
    opposite = build(spec)
    with torch.no_grad():
        opposite.verdict[0].weight.neg_()
    assert torch.equal(slopes(build(spec), x)[0], slopes(opposite, x)[0])
    assert not torch.allclose(slopes(build(spec), x)[1], slopes(opposite, x)[1])


def test_the_likelihood_never_reaches_the_discriminator(spec):
    model = build(spec, gamma=3.0)
    with torch.no_grad():
        model.verdict[0].weight.zero_()  # a verdict without features: no adversarial slope in them
    encoder, decoder, discriminator = slopes(model, batch(spec))
    layer = sum(parameter.numel() for parameter in model.layer.parameters())
    assert torch.equal(discriminator[:layer], torch.zeros(layer))
    assert discriminator[layer:].abs().max() > 0
    assert encoder.abs().max() > 0
    assert decoder.abs().max() > 0


def test_the_prior_term_reaches_the_encoder(spec):
    model, x = build(spec), batch(spec)
    torch.manual_seed(2)
    copies = Copies([model])
    terms = alone(copies.terms(x.unsqueeze(0)))
    parameters = list(copies.encoders.parameters())
    expected = torch.autograd.grad(terms.prior + terms.likelihood, parameters)
    torch.testing.assert_close(
        slopes(model, x)[0], torch.cat([slope.flatten() for slope in expected])
    )


def test_it_claims_no_likelihood(spec):
    model = build(spec)
    assert not isinstance(model, LatentModel | Density | BoundedDensity)


def test_an_unknown_loss_is_refused():
    with pytest.raises(
        ValueError, match="loss must be 'non_saturating' or 'minimax', got 'wasserstein'"
    ):
        VAEGAN(DataSpec((2,)), loss="wasserstein")


def test_copies_have_the_terms_and_gradients_of_each_model_alone(spec, monkeypatch):
    models = [VAEGAN(spec, width=6, latents=3, gamma=0.3) for _ in range(3)]
    for (
        model
    ) in models:  # nothing is left to chance: certain encoders, one draw, no dequantisation
        with torch.no_grad():
            model.encoder.network[-1].bias[3:] = -20.0
    monkeypatch.setattr(Copies, "drawn", lambda self, n: self.generators(draws[: len(self)]))
    monkeypatch.setattr("zoo.layers.Scaling.dequantised", lambda self, x: self(x))
    draws = torch.randn(1, 9, 3).expand(3, 9, 3)
    x = torch.stack([batch(spec) for _ in models])
    copies = Copies(models)
    together = copies.gradients(x)
    for s, model in enumerate(models):
        single = Copies([model])
        expected = single.gradients(x[s : s + 1])
        for name, value in vars(expected).items():
            torch.testing.assert_close(getattr(together, name)[s], value[0], rtol=1e-3, atol=1e-3)
        for found, alone_ in zip(copies.parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(found.grad[s], alone_.grad[0], rtol=0.01, atol=1e-3)


def test_several_train_at_once_each_to_its_own_weights(spec):
    models = [VAEGAN(spec, steps=20, width=6, latents=3, batch_size=16) for _ in range(3)]
    assert_each_copy_trains_to_its_own_weights(models, torch.cat([batch(spec) for _ in range(5)]))


def test_gradients_lie_in_memory_as_the_weights_do_for_fused_optimisers_take_that_for_granted():
    spec = DataSpec((1, 8, 8), levels=17)
    copies = Copies([build(spec)])
    copies.eval()  # where maps hold their channels last, and so do slopes as they are computed
    copies.gradients(torch.randint(0, 17, (1, 9, *spec.shape), dtype=torch.uint8))
    assert all(weights.grad.stride() == weights.stride() for weights in copies.parameters())
