import pytest
import torch
from latent_models import BinaryImages, LinearGaussian, Network, TinyImages, standard_prior
from torch.distributions import Bernoulli, Independent, Laplace, Normal

from benchmark.estimators import importance
from benchmark.estimators.latents import StandardLatents
from benchmark.estimators.likelihood import Likelihood
from benchmark.estimators.observation import DiscretisedGaussian


class Decoded(Network):
    """The fixed random network with any noise around its 12 outputs."""

    def __init__(self, noise):
        super().__init__(12, latents=3)
        self.noise = noise

    def decode(self, z):
        return Independent(self.noise(self.layers(z)), 1)


def scale_from(loc):
    return Normal(loc[..., :1].expand_as(loc), loc.abs() + 0.3)


NOISES = {
    "bernoulli of logits": lambda loc: Bernoulli(logits=loc),
    "bernoulli of probabilities": lambda loc: Bernoulli(probs=loc.sigmoid()),
    "normal": lambda loc: Normal(loc, torch.linspace(0.2, 2, 12).expand_as(loc)),
    "normal whose scale depends on z": scale_from,
    "laplace": lambda loc: Laplace(loc, 0.7),
    "discretised": lambda loc: DiscretisedGaussian(loc, torch.tensor(0.4), 3),
    "nested": lambda loc: Independent(Normal(loc.view(*loc.shape[:-1], 3, 4), 0.6), 1),
}


def case(name, n=4, chains=5):
    model = Decoded(NOISES[name])
    z = torch.randn(n, chains, 3)
    x = model.sample(n)
    return model, x, z


def differentiated(model, x, z):
    """log p(x given z) and its gradient by automatic differentiation of it all."""
    z = z.clone().requires_grad_()
    value = model.decode(z).log_prob(x.unsqueeze(1))
    return value.detach(), torch.autograd.grad(value.sum(), z)[0]


@pytest.mark.parametrize("name", [name for name in NOISES if name != "nested"])
def test_value_and_gradient_are_those_of_automatic_differentiation(name):
    model, x, z = case(name)
    expected, slope = differentiated(model, x, z)
    likelihood = Likelihood(StandardLatents(model), x)
    value, gradient = likelihood.value_and_gradient(z)
    assert slope.abs().min() > 0
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(likelihood.gradient(z), slope, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(likelihood.value(z), expected)


def test_events_of_several_dimensions_are_summed_like_one():
    model = Decoded(NOISES["normal"])
    model.noise = lambda loc: NOISES["nested"](loc)
    z = torch.randn(4, 5, 3)
    x = model.sample(4)
    assert x.shape == (4, 3, 4)
    expected, slope = differentiated(model, x, z)
    value, gradient = Likelihood(StandardLatents(model), x).value_and_gradient(z)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-4)


def test_gradient_is_the_slope_of_the_value():
    # By finite differences in float64, independent of what automatic differentiation does.
    prior = Independent(Normal(torch.zeros(2, dtype=torch.float64), 1.0), 1)
    model = LinearGaussian(7, 2, prior=prior)
    x, z = model.sample(3), torch.randn(3, 4, 2, dtype=torch.float64)
    likelihood = Likelihood(StandardLatents(model), x)
    gradient = likelihood.gradient(z)
    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = 1e-4
        slope = (likelihood.value(z + step) - likelihood.value(z - step)) / 2e-4
        torch.testing.assert_close(gradient[..., axis], slope, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["bernoulli of logits", "laplace"])
def test_chains_are_decoded_a_block_at_a_time(name, monkeypatch):
    model, x, z = case(name, n=7)
    whole = Likelihood(StandardLatents(model), x)
    expected = whole.value(z), *whole.value_and_gradient(z), whole.gradient(z)
    most = 10 * torch.get_num_threads()  # two data of five chains each
    decode, sizes = model.decode, []
    monkeypatch.setitem(importance.EVALUATIONS, "cpu", 10)
    monkeypatch.setattr(model, "decode", lambda z: (sizes.append(z[..., 0].numel()), decode(z))[1])
    blocks = whole.value(z), *whole.value_and_gradient(z), whole.gradient(z)
    torch.testing.assert_close(blocks, expected)
    assert max(sizes) <= most
    assert sum(sizes) == 3 * 7 * 5


def test_the_chains_of_one_datum_are_decoded_together(monkeypatch):
    model, x, z = case("laplace")
    monkeypatch.setitem(importance.EVALUATIONS, "cpu", 1)
    value = Likelihood(StandardLatents(model), x).value(z)
    torch.testing.assert_close(value, differentiated(model, x, z)[0])


@pytest.mark.parametrize("kind", [BinaryImages, TinyImages])
def test_images_of_bytes_count_like_numbers(kind):
    model = kind()
    x, z = model.sample(4), torch.randn(4, 3, 2)
    whole = Likelihood(StandardLatents(model), x.float()).value_and_gradient(z)
    of_bytes = Likelihood(StandardLatents(model), x.to(torch.uint8)).value_and_gradient(z)
    torch.testing.assert_close(of_bytes, whole)


@pytest.mark.parametrize("name", ["bernoulli of logits", "bernoulli of probabilities"])
def test_grey_images_are_outside_the_support_of_a_binary_decoder(name):
    model, x, _ = case(name)
    x[2, 3] = 2
    with pytest.raises(ValueError, match="Bernoulli, but the data hold other values than 0 and 1"):
        Likelihood(StandardLatents(model), x)


class Blind:
    """A decoder that does not look at its latents."""

    def __init__(self):
        self.prior = lambda: standard_prior(2)

    def decode(self, z):
        return Independent(Normal(torch.zeros(*z.shape[:-1], 5), 1.5), 1)


def test_a_decoder_that_ignores_its_latents_has_no_slope():
    likelihood = Likelihood(StandardLatents(Blind()), torch.randn(4, 5))
    z = torch.randn(4, 3, 2)
    assert likelihood.gradient(z).abs().max() == 0
    assert likelihood.value_and_gradient(z)[1].abs().max() == 0
    assert likelihood.simulated_score(z).abs().max() == 0


def test_no_graph_outlives_a_call():
    model, x, z = case("bernoulli of logits")
    likelihood = Likelihood(StandardLatents(model), x)
    kept = [*likelihood.value_and_gradient(z), likelihood.gradient(z), likelihood.value(z)]
    kept.append(likelihood.simulated_score(z))
    assert not any(tensor.requires_grad for tensor in kept)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradients_are_had_where_gradients_are_off():
    model, x, z = case("normal")
    likelihood = Likelihood(StandardLatents(model), x)
    expected = likelihood.gradient(z)
    with torch.no_grad():
        torch.testing.assert_close(likelihood.gradient(z), expected)
        torch.testing.assert_close(likelihood.value_and_gradient(z)[1], expected)


def test_half_precision_touches_the_gradient_only():
    model, x, z = case("bernoulli of logits")
    latents = StandardLatents(model)
    full, half = Likelihood(latents, x), Likelihood(latents, x, torch.bfloat16)
    value, gradient = half.value_and_gradient(z)
    expected, slope = full.value_and_gradient(z)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    assert not torch.equal(gradient, slope)
    assert (gradient - slope).norm() < 0.02 * slope.norm()


@pytest.mark.parametrize("name", ["normal", "bernoulli of logits", "laplace"])
def test_scores_of_simulated_data_have_mean_zero_and_the_fisher_information(name):
    # For the normal the information is J^T D J with the Jacobian J of the network.
    model, _, _ = case(name)
    z = torch.randn(1, 1, 3)
    likelihood = Likelihood(StandardLatents(model), model.sample(1))
    scores = likelihood.simulated_score(z.expand(1, 20_000, 3))[0]
    errors = scores.std(dim=0) / 20_000**0.5
    assert (scores.mean(dim=0).abs() < 5 * errors).all()
    if name != "normal":
        return
    jacobian = torch.autograd.functional.jacobian(model.layers, z[0, 0])
    information = jacobian.T @ (jacobian / torch.linspace(0.2, 2, 12).square().unsqueeze(1))
    found = scores.T @ scores / 20_000
    assert (found - information).norm() < 0.05 * information.norm()
