"""Integration over latents against closed forms, other rules and what densities must be."""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import pytest
import torch
from latent_models import BinaryImages, LinearGaussian, Network, integrated, standard_prior
from scipy import integrate as scipy_integrate
from torch.distributions import (
    Beta,
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Uniform,
)

from benchmark.estimators import quadrature
from benchmark.estimators.cells import Cells, Places
from benchmark.estimators.cells import Decoder as CellsDecoder
from benchmark.estimators.quadrature import TooIntricate, can_integrate, integrate
from benchmark.estimators.simplices import RULES, halved


class Points(Network):
    """Normal points around a random network's output, their scale changing with z if asked."""

    def __init__(self, dims=2, sigma=0.1, scaled=False, **settings):
        super().__init__(2 * dims, **settings)
        self.sigma, self.scaled = sigma, scaled

    def decode(self, z):
        loc, log_scale = self.layers(z).chunk(2, dim=-1)
        scale = self.sigma * ((0.5 * log_scale).exp() if self.scaled else torch.ones_like(loc))
        return Independent(Normal(loc, scale, validate_args=False), 1)


@dataclass
class Decoder:
    """Normal noise of one sigma around any function of standard latents."""

    function: object
    latents: int = 1
    sigma: float = 0.05

    def prior(self):
        return standard_prior(self.latents)

    def decode(self, z):
        return Independent(Normal(self.function(z), self.sigma, validate_args=False), 1)


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_linear_models_have_their_closed_form(dims, latents):
    torch.manual_seed(dims + 10 * latents)
    model = LinearGaussian(dims, latents, noise_var=0.01)
    x = torch.cat([model.sample(50), 3 * model.sample(50)])
    found = integrate(model, x)
    assert found.log_prob.numpy() == pytest.approx(model.exact(x).numpy(), abs=3e-3)
    assert found.log_prob.dtype == torch.float64


@pytest.mark.parametrize("noise_var", [1e-3, 0.1, 1.0])
def test_the_error_is_an_upper_estimate_and_not_an_idle_one(noise_var):
    torch.manual_seed(1)
    model = LinearGaussian(2, 2, noise_var=noise_var)
    x = model.sample(200)
    found = integrate(model, x)
    error = (found.log_prob - model.exact(x)).abs()
    assert bool((error < found.error + 1e-6).all())
    assert found.error.max() < 0.02


@pytest.mark.parametrize(("steepness", "sigma"), [(3.0, 0.02), (10.0, 0.05), (10.0, 0.3)])
def test_what_many_small_cells_hold_together_is_not_lost(steepness, sigma):
    """Between modes lie many cells that each hold next to nothing; the reference is a product."""
    torch.manual_seed(8)
    model = Decoder(lambda z: torch.tanh(steepness * z), latents=2, sigma=sigma)
    x = model.decode(torch.randn(100, 2)).sample()
    z = torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    prior = Normal(0.0, 1.0).log_prob(z) + math.log(z[1] - z[0])
    noise = Normal(torch.tanh(steepness * z), sigma)
    along = [noise.log_prob(x[:, k, None].double()) + prior for k in range(2)]
    exact = sum(each.logsumexp(dim=1) for each in along)
    found = integrate(model, x)
    error = found.log_prob - exact
    assert bool((error.abs() < found.error + 1e-5).all())
    assert abs(error.mean().item()) < 1.2e-4


def test_one_precision_for_all_places_is_no_other_computation(monkeypatch):
    torch.manual_seed(9)
    model = Points(3, sigma=0.1)
    with torch.no_grad():
        x = model.sample(30)
    found = integrate(model, x)
    monkeypatch.setattr(Places, "common", None)
    apart = integrate(model, x)
    torch.testing.assert_close(found.log_prob, apart.log_prob, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.error, apart.error, rtol=0.05, atol=1e-4)


def test_priors_need_not_be_standard():
    torch.manual_seed(2)
    prior = MultivariateNormal(torch.tensor([3.0, -1.0]), torch.tensor([[2.0, 1.5], [1.5, 1.4]]))
    model = LinearGaussian(2, 2, noise_var=0.02, prior=prior)
    x = model.sample(40)
    assert integrate(model, x).log_prob.numpy() == pytest.approx(model.exact(x).numpy(), abs=3e-3)


def test_a_uniform_latent_is_reached_through_its_distribution_function():
    class Segment:
        def prior(self):
            return Independent(Uniform(torch.zeros(1), torch.ones(1)), 1)

        def decode(self, z):
            return Independent(Normal(z, 0.1, validate_args=False), 1)

    x = torch.tensor([[0.02], [0.5], [1.15]])
    noise = Normal(0.0, 0.1)
    exact = (noise.cdf(x[:, 0]) - noise.cdf(x[:, 0] - 1)).log()
    assert integrate(Segment(), x).log_prob.numpy() == pytest.approx(exact.numpy(), abs=3e-3)


@pytest.mark.parametrize("sigma", [1e-3, 1e-2])
def test_posteriors_far_out_in_the_tail_are_found(sigma):
    """An x that the model gives no chance: its likeliest latent is 30 standard deviations out."""
    torch.manual_seed(3)
    model = LinearGaussian(2, 2, noise_var=sigma**2)
    x = model.decode(torch.tensor([[20.0, 22.0], [-18.0, 3.0], [0.0, 30.0]])).mean
    exact = model.exact(x)
    assert exact.max() < -140
    assert integrate(model, x).log_prob.numpy() == pytest.approx(exact.numpy(), abs=5e-3)


def test_an_x_beside_a_curve_is_far_from_all_that_is_decoded():
    """Two dimensions, one latent: hundreds of nats to the nearest image, in closed form."""
    direction = torch.tensor([0.6, 0.8])
    model = Decoder(lambda z: z * direction, latents=1, sigma=0.02)
    x = torch.tensor([[0.6, 0.8], [-0.8, 0.6], [2.0, -1.0]])
    along = direction.double()
    covariance = torch.outer(along, along) + 0.02**2 * torch.eye(2, dtype=torch.float64)
    exact = MultivariateNormal(torch.zeros(2).double(), covariance).log_prob(x.double())
    assert exact.min() < -1_000
    assert integrate(model, x).log_prob.numpy() == pytest.approx(exact.numpy(), abs=5e-3)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_curved_posteriors_agree_with_the_trapezium_rule(dims, scaled):
    torch.manual_seed(4 + dims)
    model = Points(dims, sigma=0.2, scaled=scaled)
    with torch.no_grad():
        x = torch.cat([model.sample(20), torch.randn(10, dims)])
    exact = integrated(model, x, reach=9.0, points=1_201)
    assert integrate(model, x).log_prob.numpy() == pytest.approx(exact.numpy(), abs=5e-3)


@pytest.mark.parametrize("steepness", [30.0, 3_000.0])
def test_a_cliff_between_two_modes_is_not_stepped_over(steepness):
    """Half of the mass on either side, and x on the cliff itself; SciPy is told where it is."""

    def function(z):
        return torch.tanh(steepness * (z - 0.3137))

    model = Decoder(function, sigma=0.05)

    def density(z, x):
        mean = math.tanh(steepness * (z - 0.3137))
        return math.exp(-0.5 * (z * z + ((x - mean) / 0.05) ** 2)) / (2 * math.pi) / 0.05

    x = torch.tensor([[-1.0], [0.9], [0.5], [0.0]])
    width = 4 / steepness
    points = [-8, 0.3137 - width, 0.3137 - width / 8, 0.3137, 0.3137 + width / 8,
              0.3137 + width, 8]  # fmt: skip
    exact = [
        math.log(
            sum(
                scipy_integrate.quad(partial(density, x=each), a, b, epsabs=0, limit=500)[0]
                for a, b in pairwise(points)
            )
        )
        for each in x[:, 0].tolist()
    ]
    assert integrate(model, x).log_prob.numpy() == pytest.approx(exact, abs=5e-3)


def test_many_islands_add_up():
    """sin(9 z) comes back to every x many times."""
    model = Decoder(lambda z: torch.sin(9 * z), sigma=0.03)
    x = torch.tensor([[-0.95], [0.0], [0.7], [1.2]])
    z = torch.linspace(-9, 9, 400_001, dtype=torch.float64)
    joint = -0.5 * z.square() - 0.5 * ((x.double() - torch.sin(9 * z)) / 0.03).square()
    exact = (joint - math.log(2 * math.pi * 0.03)).logsumexp(dim=1) + (z[1] - z[0]).log()
    assert integrate(model, x).log_prob.numpy() == pytest.approx(exact.numpy(), abs=3e-3)


def test_a_density_integrates_to_one():
    torch.manual_seed(5)
    model = Points(2, sigma=0.4, gain=1.0)
    with torch.no_grad():
        low, high = model.sample(5_000).aminmax(dim=0)
    sides = [torch.linspace(a - 1, b + 1, 24) for a, b in zip(low, high, strict=True)]
    x = torch.cartesian_prod(*sides)
    area = math.prod((side[1] - side[0]).item() for side in sides)
    total = integrate(model, x).log_prob.exp().sum().item() * area
    assert total == pytest.approx(1, abs=2e-3)


def test_neither_order_nor_company_changes_an_integral():
    torch.manual_seed(6)
    model = Points(2, sigma=0.05)
    with torch.no_grad():
        x = torch.cat([model.sample(90), 4 * torch.randn(10, 2)])
    together = integrate(model, x).log_prob
    order = torch.randperm(100)
    assert integrate(model, x[order]).log_prob.numpy() == pytest.approx(
        together[order].numpy(), abs=4e-3
    )
    alone = torch.cat([integrate(model, each).log_prob for each in x[:5].split(1)])
    assert alone.numpy() == pytest.approx(together[:5].numpy(), abs=4e-3)


def test_finer_first_cells_find_the_same_with_more_of_them():
    torch.manual_seed(7)
    model = Points(2, sigma=0.05)
    with torch.no_grad():
        x = model.sample(30)
    usual, finer = integrate(model, x), integrate(model, x, finer=0.5)
    assert finer.log_prob.numpy() == pytest.approx(usual.log_prob.numpy(), abs=4e-3)
    assert finer.cells > 1.3 * usual.cells


@pytest.mark.parametrize("latents", [1, 2])
def test_broad_noise_needs_fewer_first_cells(latents, monkeypatch):
    torch.manual_seed(8)
    model = Points(2, sigma=0.6, latents=latents)
    with torch.no_grad():
        x = 1.5 * model.sample(30)
    coarse = integrate(model, x)
    monkeypatch.setattr(quadrature, "COARSEST", 1.0)
    fine = integrate(model, x)
    assert coarse.log_prob.numpy() == pytest.approx(fine.log_prob.numpy(), abs=2e-3)
    assert coarse.cells < 0.6 * fine.cells
    narrow = Points(2, sigma=0.02, latents=latents)
    fine = integrate(narrow, x)
    monkeypatch.undo()
    assert integrate(narrow, x).cells == fine.cells


@pytest.mark.parametrize("latents", [1, 2])
def test_halves_know_what_the_whole_has_decoded(latents):
    torch.manual_seed(9)
    rule, decoder = RULES[latents], CellsDecoder(Points(3, scaled=True, latents=latents))
    cells = Cells(decoder, rule, torch.randn(40, latents + 1, latents, dtype=torch.float64), 1.0)
    chosen, edge = torch.arange(40)[::3], torch.randint(len(rule.edges), (14,))
    with torch.no_grad():
        halves = cells.halved(chosen, edge)
        anew = Cells(decoder, rule, halves.vertices, 1.0)
    assert torch.equal(halves.vertices, halved(cells.vertices[chosen], edge, rule.edges))
    for name in ("log_height", "loc", "precision"):
        known, decoded = getattr(halves.probes, name), getattr(anew.probes, name)
        assert known.numpy() == pytest.approx(decoded.detach().numpy(), rel=1e-5)


@pytest.mark.parametrize("latents", [1, 2])
def test_hardly_a_place_of_the_first_cells_is_decoded_twice(latents, monkeypatch):
    torch.manual_seed(10)
    model, asked = Points(2, sigma=0.02, latents=latents), []
    with torch.no_grad():
        x = model.decode(model.prior().sample((50,))).sample()
    decode = CellsDecoder.__call__

    def recorded(self, u):
        asked.append(u)
        return decode(self, u)

    monkeypatch.setattr(CellsDecoder, "__call__", recorded)
    monkeypatch.setattr(quadrature, "MOST_HALVINGS", 0)  # no cells but the first
    with pytest.raises(TooIntricate):
        integrate(model, x)
    places = torch.cat(asked[2:]).mul(1e6).round()  # after the origin and the grid
    assert len(places) < 2 * len(places.unique(dim=0))


class DoubleDecoder(Decoder):
    """The same in float64."""

    def prior(self):
        return Independent(Normal(torch.zeros(self.latents, dtype=torch.float64), 1.0), 1)


def test_a_decoder_in_double_precision_is_integrated_in_it():
    """Images are a thousand away, where single precision has steps of half a sigma."""
    model = DoubleDecoder(lambda z: 1_000 + z, sigma=1e-4)
    torch.manual_seed(8)
    x = 1_000 + torch.randn(20, 1, dtype=torch.float64)
    exact = Normal(1_000.0, math.hypot(1, 1e-4)).log_prob(x[:, 0])
    assert integrate(model, x).log_prob.numpy() == pytest.approx(exact.numpy(), abs=3e-3)


@pytest.mark.parametrize(
    ("kind", "data", "held"),
    [
        (Decoder, torch.float32, torch.float32),
        (Decoder, torch.uint8, torch.float32),
        (Decoder, torch.float64, torch.float64),
        (DoubleDecoder, torch.float32, torch.float64),
    ],
)
def test_images_have_the_higher_precision_of_decoder_and_data(kind, data, held):
    decoder = CellsDecoder(kind(lambda z: 2 * z), data)
    cells = Cells(decoder, RULES[1], torch.tensor([[[0.0], [0.5]]], dtype=torch.float64), 1.0)
    for values in (cells.probes.loc, cells.low, cells.log_size, cells.log_most, cells.stretch):
        assert values.dtype == held


def test_an_image_that_overflows_far_out_gives_nothing_there():
    with_overflow = Decoder(lambda z: z.exp().exp().log(), sigma=0.3)  # infinite from 4.5 on
    assert not can_integrate(Decoder(lambda z: z / 0, sigma=0.3))

    def overflows(z):
        return torch.where(z.abs() > 10, math.inf, z)

    x = torch.tensor([[0.5], [2.0]])
    exact = Normal(0.0, math.hypot(1, 0.3)).log_prob(x[:, 0])
    for function in (overflows, lambda z: torch.where(z.abs() > 10, 1e30, z)):
        found = integrate(Decoder(function, sigma=0.3), x)
        assert found.log_prob.numpy() == pytest.approx(exact.numpy(), abs=3e-3)
    with pytest.raises(ValueError, match="decode\\(z\\) gives values that are no numbers"):
        integrate(with_overflow, x)


def test_models_of_another_kind_are_refused():
    assert can_integrate(LinearGaussian(3, 2))
    assert not can_integrate(LinearGaussian(3, 3))
    with pytest.raises(ValueError, match="the model has 3 latents: only up to 2"):
        integrate(LinearGaussian(3, 3), torch.zeros(2, 3))
    assert not can_integrate(BinaryImages())
    with pytest.raises(ValueError, match="p\\(x given z\\) is Bernoulli: it must be normal"):
        integrate(BinaryImages(), torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize(
    "prior",
    [
        Independent(Beta(torch.ones(2), torch.ones(2)), 1),
        MixtureSameFamily(
            Categorical(torch.ones(2)), Independent(Normal(torch.zeros(2, 2), 1.0), 1)
        ),
    ],
    ids=["beta", "mixture"],
)
def test_priors_that_no_normal_reaches_are_refused(prior):
    model = LinearGaussian(2, 2)
    model._prior = prior
    assert not can_integrate(model)


def test_what_would_take_too_long_is_said(monkeypatch):
    monkeypatch.setattr(quadrature, "MOST_PAIRS", 50)
    model, x = LinearGaussian(2, 2, noise_var=1e-4), torch.zeros(200, 2)
    with pytest.raises(TooIntricate, match="more than 50 cells of latents an x"):
        integrate(model, x)
    monkeypatch.undo()
    monkeypatch.setattr(quadrature, "MOST_HALVINGS", 3)
    with pytest.raises(TooIntricate, match="or 3 halvings"):
        integrate(model, x)


@pytest.mark.parametrize("latents", [1, 2])
def test_rules_are_exact_up_to_degree_five(latents):
    """Means of monomials of barycentric coordinates: d! prod(a_i!) / (d + sum a)!"""
    rule = RULES[latents]
    nodes = torch.tensor(rule.nodes, dtype=torch.float64)
    weights = torch.tensor(rule.weights, dtype=torch.float64)
    assert weights.sum().item() == pytest.approx(1)
    powers = torch.cartesian_prod(*[torch.arange(6)] * (latents + 1))
    for each in powers[powers.sum(dim=1) <= 5]:
        exact = math.factorial(latents) * math.prod(map(math.factorial, each.tolist()))
        exact /= math.factorial(latents + int(each.sum()))
        assert (weights @ (nodes**each).prod(dim=1)).item() == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize("latents", [1, 2])
def test_what_a_rule_misses_of_an_exponential_is_bounded(latents):
    """Random linear logarithms; the means of their exponentials are divided differences."""
    rule = RULES[latents]
    nodes = torch.tensor(rule.nodes, dtype=torch.float64)
    weights = torch.tensor(rule.weights, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for spread in (1.0, 2.0, 4.0):
        ends = torch.rand(300, latents + 1, generator=generator, dtype=torch.float64) * spread
        values = ends @ nodes.T
        found = values.exp() @ weights
        exact = torch.zeros_like(found)
        for i in range(latents + 1):
            others = [ends[:, i] - ends[:, j] for j in range(latents + 1) if j != i]
            exact += math.factorial(latents) * ends[:, i].exp() / math.prod(others)
        seen = ends.amax(dim=1) - ends.amin(dim=1)
        allowed = (seen / rule.linear).pow(6) * ends.amax(dim=1).exp()
        clear = (ends.sort(dim=1).values.diff(dim=1) > 0.05 * spread).all(dim=1)
        assert bool(((found - exact).abs() <= 1.1 * allowed + 1e-9)[clear].all())


@pytest.mark.parametrize("width", [1.0, 2.0, 3.0])
def test_what_a_rule_misses_of_a_peak_inside_is_bounded(width):
    """Across a segment, `width` standard deviations of the peak in all; the mean by erf."""
    rule = RULES[1]
    place = torch.tensor(rule.nodes, dtype=torch.float64)[:, 0] - 0.5
    found = torch.tensor(rule.weights, dtype=torch.float64) @ (-0.5 * (width * place) ** 2).exp()
    exact = math.sqrt(2 * math.pi) / width * math.erf(width / 2 / math.sqrt(2))
    seen, bend = width**2 / 8, width**2 / 4  # of an end, and at both
    missed = abs(found.item() - exact)
    assert (seen / rule.linear) ** 6 < missed  # that it does not look linear is what counts
    assert missed < (seen / rule.linear) ** 6 + rule.bent * bend**3 < 12 * missed
