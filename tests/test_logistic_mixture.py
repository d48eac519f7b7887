import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from scipy.stats import logistic

from zoo.logistic_mixture import (
    LEAST_LOG_SCALE,
    LogisticMixture,
    log_logistic_mass,
    mixture_from,
    parameter_count,
    spread_evenly,
)


def random_mixture(channels, mixtures=4, levels=None, positions=(), n=3):
    shape = (n, parameter_count(channels, mixtures), *positions)
    return mixture_from(torch.randn(shape).double(), channels, mixtures, levels)


def repeated(mixture, n):
    """The mixture of one example, for n of them."""
    parts = (mixture.log_weights, mixture.means, mixture.log_scales, mixture.slopes)
    return LogisticMixture(*(part.expand(n, *part.shape[1:]) for part in parts), mixture.levels)


def centres(levels):
    return (2 * torch.arange(levels).double() + 1) / levels - 1


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize(("mean", "log_scale"), [(0.1, -1.3), (-0.97, -4.0), (2.5, -3.0)])
def test_mass_is_the_difference_of_distribution_functions(levels, mean, log_scale):
    x = centres(levels)
    parameters = torch.tensor([mean, log_scale], dtype=torch.float64)

    mass = log_logistic_mass(x, *parameters, levels)

    z_upper, z_lower = (((x + end / levels - mean) / math.exp(log_scale)) for end in (1, -1))
    z_upper[-1], z_lower[0] = math.inf, -math.inf
    # Above the mean the survival function keeps the digits that the distribution function loses.
    below = logistic.cdf(z_upper) - logistic.cdf(z_lower)
    above = logistic.sf(z_lower) - logistic.sf(z_upper)
    expected = np.where(z_lower > 0, above, below)
    np.testing.assert_allclose(mass, np.log(expected), rtol=1e-9, atol=1e-15)
    assert torch.logsumexp(mass, dim=0).item() == pytest.approx(0, abs=1e-12)


def exact_log_mass(level, mean, scale, levels):
    """Logarithm of a difference of distribution functions, with digits enough for any tail."""
    with localcontext() as context:
        context.prec = 1_500

        def distribution(end):
            z = (Decimal(end) / levels - 1 - Decimal(mean)) / Decimal(scale)
            return 1 / (1 + (-z).exp())

        upper = distribution(2 * level + 2) if level < levels - 1 else Decimal(1)
        lower = distribution(2 * level) if level > 0 else Decimal(0)
        return float((upper - lower).ln())


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("mean", [-1.7, -0.31, 2.4])
@pytest.mark.parametrize("log_scale", [-7.0, -2.0, 1.0])
def test_mass_in_the_tails_is_right_to_twelve_digits(levels, mean, log_scale):
    chosen = sorted({0, 1, levels // 3, levels - 2, levels - 1})
    parameters = torch.tensor([mean, log_scale], dtype=torch.float64)

    mass = log_logistic_mass(centres(levels)[chosen], *parameters, levels)

    scale = parameters[1].exp().item()
    expected = [exact_log_mass(level, mean, scale, levels) for level in chosen]
    np.testing.assert_allclose(mass, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_mixture_is_the_sum_of_its_components_with_shifted_means(levels):
    mixture = random_mixture(3, mixtures=2, levels=levels, n=1)
    every = centres(levels)[sorted({0, levels // 2, levels - 1})]
    x = torch.cartesian_prod(every, every, every)
    weights, means, scales, slopes = (
        part[0].numpy()
        for part in (
            mixture.log_weights.exp(),
            mixture.means,
            mixture.log_scales.exp(),
            mixture.slopes,
        )
    )

    def mass(value, mean, scale):
        upper = 1.0 if value > 1 - 2 / levels else logistic.cdf(value + 1 / levels, mean, scale)
        lower = 0.0 if value < 2 / levels - 1 else logistic.cdf(value - 1 / levels, mean, scale)
        return upper - lower

    def probability(red, green, blue):
        total = 0.0
        for k in range(2):
            of_red = mass(red, means[0, k], scales[0, k])
            of_green = mass(green, means[1, k] + slopes[0, k] * red, scales[1, k])
            shift = slopes[1, k] * red + slopes[2, k] * green
            total += weights[k] * of_red * of_green * mass(blue, means[2, k] + shift, scales[2, k])
        return total

    log_prob = repeated(mixture, len(x)).log_prob(x)

    expected = [math.log(probability(*values)) for values in x.tolist()]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-9)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("mean", [-50.0, 50.0])
@pytest.mark.parametrize("log_scale", [-30.0, 0.0, 3.0])
def test_every_level_far_from_the_means_has_a_gradient_towards_it(levels, mean, log_scale):
    x = centres(levels).float().view(-1, 1)
    x = x[:-1] if mean > 0 else x[1:]  # the last reaches to infinity: its mass is one
    parameters = torch.zeros(len(x), parameter_count(1, 3))
    parameters[:, 3:6] = mean * torch.tensor([1.0, 1.3, 2.0])
    parameters[:, 6:] = log_scale
    parameters.requires_grad_()

    log_prob = mixture_from(parameters, 1, 3, levels).log_prob(x)
    log_prob.sum().backward()

    assert log_prob.isfinite().all()
    assert parameters.grad.isfinite().all()
    nearest, scale = parameters.grad[:, 3], parameters.grad[:, 6]
    assert (nearest * mean < 0).all()
    assert (scale != 0).all()


def test_far_tails_agree_with_their_asymptote_in_single_precision():
    # For b far below the mean, log(sigmoid(b) - sigmoid(a)) = b + log(1 - exp(a - b)).
    mean, log_scale, levels = 0.9, -6.0, 256
    x = centres(levels).float()[1:100]
    scale = math.exp(log_scale)
    upper = (x.double() + 1 / levels - mean) / scale
    expected = upper + math.log(-math.expm1(-2 / levels / scale))

    mass = log_logistic_mass(x, torch.tensor([mean]), torch.tensor([log_scale]), levels)

    assert expected.max() < -150  # probabilities that single precision cannot hold
    torch.testing.assert_close(mass.double(), expected, rtol=1e-5, atol=0)


def test_gradient_survives_far_from_every_mean():
    parameters = torch.zeros(1, parameter_count(1, 3))
    parameters[:, 3:6] = torch.tensor([40.0, 50.0, 60.0])
    parameters[:, 6:] = LEAST_LOG_SCALE - 3
    parameters.requires_grad_()

    log_prob = mixture_from(parameters, 1, 3, 256).log_prob(centres(256).float()[7].view(1, 1))
    log_prob.sum().backward()

    assert log_prob.isfinite().all()
    assert parameters.grad.isfinite().all()
    assert parameters.grad[0, 3] < -1
    assert parameters.grad[0, 6] != 0


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_masses_of_all_values_sum_to_one(channels):
    levels = 5
    values = torch.cartesian_prod(*[centres(levels)] * channels).view(-1, channels)
    mixture = repeated(random_mixture(channels, levels=levels, n=1), len(values))

    assert mixture.log_prob(values).logsumexp(dim=0).item() == pytest.approx(0, abs=1e-10)


def test_a_channel_depends_on_those_before_it_only():
    levels, channels = 5, 4
    mixture = repeated(random_mixture(channels, levels=levels, n=1), levels)
    first_two = LogisticMixture(
        mixture.log_weights,
        mixture.means[:, :2],
        mixture.log_scales[:, :2],
        mixture.slopes[:, :1],
        levels,
    )
    first_three = LogisticMixture(
        mixture.log_weights,
        mixture.means[:, :3],
        mixture.log_scales[:, :3],
        mixture.slopes[:, :3],
        levels,
    )
    x = torch.tensor([-0.4, 0.4, 0.0]).double().repeat(levels, 1)
    x[:, 2] = centres(levels)
    x.requires_grad_()

    third_given_others = first_three.log_prob(x) - first_two.log_prob(x[:, :2])

    assert third_given_others.logsumexp(dim=0).item() == pytest.approx(0, abs=1e-10)
    gradient = torch.autograd.grad(third_given_others[1], x)[0][1]
    assert (gradient != 0).all()
    last = torch.cat([x[:1].repeat(levels, 1), centres(levels).view(-1, 1)], dim=1)
    over_last = mixture.log_prob(last).logsumexp(dim=0)
    torch.testing.assert_close(over_last, first_three.log_prob(x)[0])


def test_density_integrates_to_one():
    x = torch.linspace(-400, 400, 200_001).double()
    density = repeated(random_mixture(1, n=1), len(x)).log_prob(x.view(-1, 1)).exp()

    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)


def test_samples_of_dependent_channels_have_the_masses_as_frequencies():
    levels, n = 3, 200_000
    mixture = random_mixture(2, mixtures=2, levels=levels, n=1)
    every = torch.cartesian_prod(centres(levels), centres(levels))
    mass = repeated(mixture, len(every)).log_prob(every).exp()

    x = repeated(mixture, n).sample(torch.rand(n, 3).double())

    level = ((x + 1) * levels / 2 - 0.5).round().long()
    counts = torch.bincount(level[:, 0] * levels + level[:, 1], minlength=9)
    expected = n * mass
    chi_squared = ((counts - expected).square() / expected).sum().item()
    assert chi_squared < 26  # 8 degrees of freedom: exceeded once in a thousand


def test_a_point_drawn_from_a_density_follows_its_distribution_function():
    mixture = random_mixture(1, n=1)
    n = 50_000

    x = repeated(mixture, n).sample(torch.rand(n, 2).double()).squeeze(1).sort().values

    weights, means, scales = (
        value.flatten().numpy()
        for value in (mixture.log_weights.exp(), mixture.means, mixture.log_scales.exp())
    )
    exact = (weights * logistic.cdf(x.numpy()[:, None], means, scales)).sum(axis=1)
    distance = np.abs(exact - (np.arange(n) + 0.5) / n).max()
    assert distance < 1.95 / math.sqrt(n)  # Kolmogorov-Smirnov, exceeded once in a thousand


def test_half_precision_parameters_give_a_likelihood_in_single_precision():
    parameters = torch.randn(2, parameter_count(1, 3)).bfloat16()
    x = centres(256).float()[[3, 200]].view(2, 1)

    log_prob = mixture_from(parameters, 1, 3, 256).log_prob(x)

    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, mixture_from(parameters.float(), 1, 3, 256).log_prob(x))


def test_components_start_side_by_side():
    bias = torch.randn(parameter_count(2, 4))

    spread_evenly(bias, 2, 4, reach=2.0)

    mixture = mixture_from(bias.unsqueeze(0), 2, 4, None)
    torch.testing.assert_close(mixture.means[0], torch.tensor([[-1.5, -0.5, 0.5, 1.5]] * 2))
    torch.testing.assert_close(mixture.log_weights.exp(), torch.full((1, 4), 0.25))
