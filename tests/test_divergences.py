"""Each divergence against the textbook's, between two Gaussians of which everything is known."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from torch.distributions import Normal, kl_divergence

from zoo.divergences import DIVERGENCES
from zoo.gan import LOSSES

P = Normal(torch.tensor(0.6).double(), torch.tensor(1.0).double())
Q = Normal(torch.tensor(0.0).double(), torch.tensor(1.1).double())

FUNCTIONS = {  # f of D_f(P || Q) = E_Q[f(p / q)]
    "kl": lambda u: u * math.log(u),
    "reverse_kl": lambda u: -math.log(u),
    "pearson": lambda u: (u - 1) ** 2,
    "jensen_shannon": lambda u: u * math.log(u) - (u + 1) * math.log((u + 1) / 2),
    "squared_hellinger": lambda u: (math.sqrt(u) - 1) ** 2,
}
BEST = {  # the raw output v with g(v) = f'(u)
    "kl": lambda u: u.log() + 1,
    "reverse_kl": lambda u: u.log(),
    "pearson": lambda u: 2 * (u - 1),
    "jensen_shannon": lambda u: u.log(),
    "squared_hellinger": lambda u: u.log() / 2,
}


def integral(integrand):
    """Over x, of a function of the two densities."""

    def at(x):
        x = torch.tensor(x).double()
        return integrand(P.log_prob(x).exp().item(), Q.log_prob(x).exp().item())

    return quad(at, -9, 9, limit=200)[0]


def from_textbooks():
    apart = (P.loc - Q.loc).item() ** 2
    squares = 1.0**2 + 1.1**2
    overlap = math.sqrt(2 * 1.0 * 1.1 / squares) * math.exp(-apart / (4 * squares))
    return {
        "kl": kl_divergence(P, Q).item(),
        "reverse_kl": kl_divergence(Q, P).item(),
        "pearson": integral(lambda p, q: (p - q) ** 2 / q),
        "jensen_shannon": integral(
            lambda p, q: p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))
        ),
        "squared_hellinger": 2 - 2 * overlap,
    }


def draws(distribution, n=400_000):
    """Evenly spaced quantiles: means over them are integrals, but for the outermost tails."""
    return distribution.icdf((torch.arange(n).double() + 0.5) / n)


def outputs(name, x):
    return BEST[name]((P.log_prob(x) - Q.log_prob(x)).exp())


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_best_discriminator_gives_the_divergence(name):
    real, generated = (outputs(name, draws(distribution)) for distribution in (P, Q))
    bound = -LOSSES[name].discriminator(real, generated)
    assert bound.item() == pytest.approx(from_textbooks()[name], abs=3e-4)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_any_other_discriminator_gives_less(name):
    best = [outputs(name, draws(distribution)) for distribution in (P, Q)]
    for change in (lambda x: 0.2 * x, lambda x: -0.2 * x, lambda x: 0.3 * torch.sin(3 * x)):
        other = [
            v + change(draws(distribution)) for v, distribution in zip(best, (P, Q), strict=True)
        ]
        assert LOSSES[name].discriminator(*other) > LOSSES[name].discriminator(*best) + 1e-3


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("raw", [-1.3, 0.4, 1.7])
def test_the_conjugate_is_the_supremum_that_defines_it(name, raw):
    raw = torch.tensor(raw).double()
    value = DIVERGENCES[name].activation(raw).item()
    found = minimize_scalar(
        lambda log_u: FUNCTIONS[name](math.exp(log_u)) - math.exp(log_u) * value,
        bounds=(-12, 5),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert DIVERGENCES[name].conjugate(raw).item() == pytest.approx(-found.fun, abs=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_generator_descends_on_what_it_can_move_of_the_bound(name):
    real, generated = torch.randn(2, 3, 8).double()
    generated.requires_grad_()
    (up,) = torch.autograd.grad(LOSSES[name].discriminator(real, generated).sum(), generated)
    (down,) = torch.autograd.grad(LOSSES[name].generator(generated).sum(), generated)
    torch.testing.assert_close(down, -up)


def test_the_jensen_shannon_game_is_the_minimax_game_but_for_a_constant():
    real, generated = torch.randn(2, 4, 9).double()
    ours, known = LOSSES["jensen_shannon"], LOSSES["minimax"]
    constant = torch.full((4,), math.log(2)).double()
    torch.testing.assert_close(
        ours.discriminator(real, generated), known.discriminator(real, generated) - 2 * constant
    )
    torch.testing.assert_close(ours.generator(generated), known.generator(generated) + constant)
