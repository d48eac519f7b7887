import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from benchmark.models import build
from benchmark.spec import BoundedDensity, DataSpec, Density, Encoder, LatentModel
from benchmark.training_log import TrainingLog
from zoo.decoders import VAE, UnitInterval, gan, gmmn

IMAGES = DataSpec((1, 28, 28))
SMALL = DataSpec((1, 2, 3))
KINDS = {"VAE": VAE, "gan": gan, "gmmn": gmmn}
QUIET = TrainingLog(None, "32-true")


def made(name, latents, spec=SMALL, **settings):
    return build(f"zoo.decoders:{name}", spec, {"latents": latents, **settings})


def linear_sizes(network):
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


def blobs(n):
    """[n, 1, 2, 3] two kinds of images in [0, 1]."""
    patterns = torch.tensor([[0.9, 0.1, 0.1, 0.1, 0.8, 0.1], [0.1, 0.6, 0.9, 0.5, 0.1, 0.9]])
    x = patterns[(torch.rand(n) < 0.3).long()] + 0.03 * torch.randn(n, 6)
    return x.clamp(0, 1).view(n, 1, 2, 3)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("latents", "sizes"),
    [(10, [10, 64, 256, 256, 1024, 784]), (50, [50, 1024, 1024, 1024, 784])],
)
def test_the_networks_are_those_of_the_paper(name, latents, sizes):
    model = made(name, latents, IMAGES)
    assert linear_sizes(model.generator) == sizes
    hidden = [layer for layer in model.generator.modules() if isinstance(layer, nn.ReLU | nn.Tanh)]
    assert {type(layer) for layer in hidden} == {nn.ReLU if name == "gmmn" else nn.Tanh}
    assert len(hidden) == len(sizes) - 2
    z = model.prior().sample((2, 3))
    assert z.shape == (2, 3, latents)
    assert model.generate(z).shape == (2, 3, 1, 28, 28)


def test_the_encoder_is_the_mirror_image():
    assert linear_sizes(VAE(IMAGES, latents=10).encoder) == [784, 1024, 256, 256, 64, 20]
    assert linear_sizes(VAE(IMAGES, latents=50).encoder) == [784, 1024, 1024, 1024, 100]
    posterior = VAE(IMAGES, latents=50).encode(torch.rand(4, 1, 28, 28))
    assert (posterior.batch_shape, posterior.event_shape) == ((4,), (50,))


@pytest.mark.parametrize("name", KINDS)
def test_none_claims_a_density_and_only_the_vae_an_encoder(name):
    model = made(name, 10)
    assert not isinstance(model, LatentModel | Density | BoundedDensity)
    assert isinstance(model, Encoder) == (name == "VAE")


@pytest.mark.parametrize("latents", [10, 50])
@pytest.mark.parametrize("name", KINDS)
def test_it_trains_samples_in_the_unit_interval_and_restores(name, latents):
    data = blobs(200)
    model = made(name, latents, steps=1_000, batch_size=20)
    before = [p.clone() for p in model.generator.parameters()]
    model.fit(data, data[:50], 0.002, QUIET)
    moved = [(p != q).any() for p, q in zip(model.generator.parameters(), before, strict=True)]
    assert all(moved)
    copy = made(name, latents)
    copy.load_state_dict(model.state_dict())
    torch.manual_seed(5)
    drawn = model.sample(7)
    torch.manual_seed(5)
    assert torch.equal(copy.eval().sample(7), drawn)
    assert drawn.shape == (7, 1, 2, 3)
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_the_vaes_terms_are_those_of_a_gaussian_observation_of_the_given_variance():
    model, x = VAE(SMALL, latents=10, variance=0.02), blobs(9)
    torch.manual_seed(2)
    reconstruction, divergence = model.terms(x)

    torch.manual_seed(2)
    mean, log_scale = model.encoder.network(x).chunk(2, dim=1)
    posterior = Independent(Normal(mean, log_scale.exp()), 1)
    decoded = Independent(Normal(model.generator(posterior.rsample()), 0.02**0.5), 3)
    standard = Independent(Normal(torch.zeros(10), torch.ones(10)), 1)
    torch.testing.assert_close(reconstruction, decoded.log_prob(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(divergence, kl_divergence(posterior, standard))


def test_the_vae_learns_to_reconstruct_and_to_sample_both_kinds():
    torch.manual_seed(4)
    data = blobs(500)
    model = VAE(SMALL, latents=10, steps=150, batch_size=50, learning_rate=1e-3)
    model.fit(data, data[:50], 1.0, QUIET)
    error = (model.generate(model.encode(data).mean) - data).square().mean()
    assert error < 0.01  # the variance over the two kinds is 0.07
    # Without the KL term posteriors shrink to points far apart, which the prior misses.
    assert kl_divergence(model.encode(data), model.prior()).mean() < 12
    share = (model.sample(1_000)[:, 0, 0, 0] < 0.5).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.12)


def test_wrong_latents_data_and_range_are_refused():
    with pytest.raises(ValueError, match="latents must be 10 or 50, got 20"):
        VAE(IMAGES, latents=20)
    for kind in KINDS.values():
        with pytest.raises(ValueError, match="not for images with 256 levels"):
            kind(DataSpec((1, 28, 28), levels=256), latents=10)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], they reach from 0 to 1.5"):
        UnitInterval(SMALL).fit(torch.tensor([0.0, 1.5]))


@pytest.mark.parametrize("name", KINDS)
def test_data_are_neither_shifted_nor_scaled(name):
    model, data = made(name, 10, steps=1, batch_size=4), blobs(50)
    model.fit(data, data, 1.0, QUIET)
    assert torch.equal(model.scaling(data), data)
    z = torch.randn(3, 10)
    assert torch.equal(model.generate(z), model.generator(z))


def test_the_gmmn_has_the_papers_bandwidths():
    assert gmmn(SMALL, latents=10).bandwidths_for(blobs(3)) == [2, 5, 10, 20, 40, 80]
