import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

import zoo.ar_mixture
from benchmark.conformance import check_model
from benchmark.spec import DataSpec
from benchmark.training_log import TrainingLog
from zoo.ar_mixture import (
    LEAST_LOG_SCALE,
    AutoregressiveMixture,
    MaskedConditionals,
    draw_mixture,
    log_mixture,
)

QUIET = TrainingLog(None, "32-true")


def random_network(dims, width=16, layers=3, components=3):
    """Conditionals whose weights are far from their first values, so that everything matters."""
    network = MaskedConditionals(dims, width, layers, components)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
    return network.requires_grad_(False)


def unfloored(log_scales):
    """What a soft floor takes to these log-scales."""
    return LEAST_LOG_SCALE + torch.expm1(log_scales - LEAST_LOG_SCALE).log()


def felt(function, dims):
    """[d, d]: how much each of the first feels each coordinate of a point."""
    x = torch.randn(1, dims).double()
    return torch.autograd.functional.jacobian(lambda x: function(x)[0], x)[:, 0]


@pytest.mark.parametrize(("dims", "width"), [(7, 18), (9, 4)])
def test_a_coordinate_depends_on_every_earlier_one_and_on_no_later_one(dims, width):
    network = random_network(dims, width).double()
    densities = felt(network.conditionals, dims)
    parameters = felt(lambda x: network.mixtures(x)[0].abs().sum(dim=(2, 3)), dims)
    shifts = felt(lambda x: network.mixtures(x)[1], dims)
    assert (densities.triu(diagonal=1) == 0).all()
    assert (densities.tril() != 0).sum() == dims * (dims + 1) / 2
    assert (parameters.triu() == 0).all()
    assert (shifts.triu() == 0).all()


def test_hidden_units_too_see_every_earlier_coordinate():
    network = random_network(7, width=18).double()
    parameters = felt(lambda x: network.mixtures(x)[0].abs().sum(dim=(2, 3)), 7)
    assert (parameters != 0).sum() == 7 * 6 / 2


def test_log_mixture_equals_torchs():
    parameters = torch.randn(5, 2, 3, 4).double()
    x = torch.randn(5, 2).double()
    logits, means, log_scales = parameters.unbind(dim=2)
    reference = MixtureSameFamily(Categorical(logits=logits), Normal(means, log_scales.exp()))
    parameters[:, :, 2] = unfloored(log_scales)
    torch.testing.assert_close(log_mixture(x, parameters), reference.log_prob(x))


def test_scales_have_a_floor_with_a_gradient():
    parameters = torch.tensor([[0.0], [0.3], [-30.0]]).requires_grad_()
    value = log_mixture(torch.tensor(0.3), parameters)
    value.backward()
    assert value.item() == pytest.approx(7 - 0.918939, abs=1e-4)
    assert parameters.grad[2] != 0


def test_a_single_component_with_direct_connections_holds_every_gaussian():
    root = torch.tensor([[1.3, 0.0, 0.0], [0.7, 0.6, 0.0], [-0.9, 0.4, 1.1]]).double()
    mean = torch.tensor([0.5, -1.0, 2.0]).double()
    reference = MultivariateNormal(mean, scale_tril=root)
    model = AutoregressiveMixture(DataSpec((3,)), components=1, width=4).double()
    network = model.network
    # x_i = mean_i + sum_j (L diag(L)^-1)_ij (z_j L_jj): regress on the coordinates before.
    unit = root / root.diagonal()
    with torch.no_grad():
        network.output.weight.zero_()
        network.direct.weight.copy_(torch.eye(3) - torch.linalg.inv(unit))
        network.direct.bias.copy_(torch.linalg.solve(unit, mean))
        bias = network.output.bias.view(3, 3, 1)
        bias[:, 1] = 0.0
        bias[:, 2, 0] = unfloored(root.diagonal().log())
    x = reference.sample((50,))
    torch.testing.assert_close(model.log_prob(x), reference.log_prob(x))
    drawn = model.sample(40_000)
    torch.testing.assert_close(drawn.mean(dim=0), mean, rtol=0, atol=0.04)
    torch.testing.assert_close(torch.cov(drawn.T), root @ root.T, rtol=0, atol=0.06)


def test_the_density_of_points_integrates_to_one():
    model = AutoregressiveMixture(DataSpec((2,)))
    model.network = random_network(2)
    model.scaling.fit(torch.tensor([[1.0, -2.0], [1.5, -1.0], [0.3, 3.0]]))
    low, high = (model.scaling.inverse(torch.full((2,), end)) for end in (-16.0, 16.0))
    sides = [torch.linspace(*ends, 801) for ends in zip(low, high, strict=True)]
    density = model.log_prob(torch.cartesian_prod(*sides)).exp().view(801, 801).double()
    integral = torch.trapezoid(torch.trapezoid(density, sides[1].double()), sides[0].double())
    assert integral.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("dims", "width"), [(1, 3), (2, 18), (7, 18), (9, 4)])
def test_sampling_unit_by_unit_equals_running_the_whole_network(dims, width, monkeypatch):
    network, seen, drawn = random_network(dims, width).double(), [], []

    def draw(parameters):
        seen.append(parameters)
        drawn.append(draw_mixture(parameters))
        return drawn[-1]

    monkeypatch.setattr(zoo.ar_mixture, "draw_mixture", draw)
    x = network.sample(6)
    parameters, shift = network.mixtures(x)
    torch.testing.assert_close(torch.cat(seen, dim=1), parameters)
    torch.testing.assert_close(x, torch.cat(drawn, dim=1) + shift)
    assert len(drawn) == min(dims, 1 + width)


def test_draws_have_the_moments_of_their_mixture():
    parameters = torch.tensor([[0.2, 1.1], [-3.0, 2.0], [0.4, -1.0]])
    drawn = draw_mixture(parameters.expand(60_000, 3, 2))
    share = parameters[0].softmax(dim=0)
    mean = (share * parameters[1]).sum()
    square = (share * (parameters[1].square() + (2 * parameters[2]).exp())).sum()
    assert drawn.mean().item() == pytest.approx(mean.item(), abs=0.04)
    assert drawn.square().mean().item() == pytest.approx(square.item(), rel=0.02)


def test_a_mixture_without_shares_gives_no_number():
    parameters = torch.zeros(2, 3, 4)
    parameters[0, 0, 2] = torch.inf
    assert draw_mixture(parameters).isnan().tolist() == [True, False]


def test_training_comes_near_the_entropy_of_separate_modes():
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])
    data = corners[torch.randint(3, (6_000,))] + 0.05 * torch.randn(6_000, 2)
    model = AutoregressiveMixture(DataSpec((2,)), steps=300, batch_size=128, width=32)
    model.fit(data[:5_000], data[5_000:], 1.0, QUIET)
    with torch.no_grad():
        nll = -model.log_prob(data[5_000:]).mean().item()
    entropy = torch.tensor(3.0).log() + torch.tensor(2 * torch.pi * torch.e * 0.05**2).log()
    assert nll == pytest.approx(entropy.item(), abs=0.4)
    nearest = torch.cdist(model.sample(1_000), corners).min(dim=1)
    assert torch.bincount(nearest.indices, minlength=3).min() > 250
    assert (nearest.values < 0.2).float().mean() > 0.7


def test_points_of_many_dimensions_take_one_pass():
    model = AutoregressiveMixture(DataSpec((1_200,)), width=24, components=2)
    x = model.sample(5)
    assert x.shape == (5, 1_200)
    assert model.log_prob(x).isfinite().all()


def test_images_and_empty_networks_are_refused():
    with pytest.raises(ValueError, match=r"images with 17 levels have masses: take a model of"):
        AutoregressiveMixture(DataSpec((1, 8, 8), levels=17))
    with pytest.raises(ValueError, match="must be positive, got 128, 2 and 0"):
        AutoregressiveMixture(DataSpec((2,)), components=0)


def test_it_keeps_its_promises_on_points():
    checks = check_model("zoo.ar_mixture:AutoregressiveMixture", "ring")
    assert not [check for check in checks if check.kept is False]
