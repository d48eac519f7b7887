import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from benchmark.conformance import check_model
from benchmark.spec import DataSpec
from benchmark.training_log import TrainingLog
from zoo.realnvp import Flow, MixtureBase, RealNVP

QUIET = TrainingLog(None, "32-true")


def random_flow(dims, components, couplings=5):
    """A flow whose weights are far from their first values, so that everything matters."""
    flow = Flow(dims, couplings, 8, components)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return flow.requires_grad_(False)


@pytest.mark.parametrize("dims", [2, 5])
def test_the_volume_is_the_determinant_of_autograds_jacobian(dims):
    flow = random_flow(dims, components=1).double()
    x = torch.randn(6, dims).double()
    _, log_volume = flow.inverse(x)
    for point, value in zip(x, log_volume, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda p: flow.inverse(p[None])[0][0], point)
        assert value.item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-9)
    assert log_volume.std() > 0.1


@pytest.mark.parametrize("dims", [2, 5])
def test_every_coupling_undoes_itself_and_every_coordinate_is_changed(dims):
    flow = random_flow(dims, components=1).double()
    x = torch.randn(6, dims).double()
    z, _ = flow.inverse(x)
    back = z
    for coupling in reversed(flow.couplings):
        back = coupling.undo(back)
    torch.testing.assert_close(back, x)
    first_two = flow.couplings[1](flow.couplings[0](x)[0])[0]
    assert (first_two.sort(dim=1).values != x.sort(dim=1).values).all()


def test_the_base_equals_torchs_mixture():
    base = MixtureBase(3, components=4).double().requires_grad_(False)
    for parameter in base.parameters():
        parameter += torch.randn_like(parameter)
    reference = MixtureSameFamily(
        Categorical(logits=base.logits), Independent(Normal(base.means, base.log_scales.exp()), 1)
    )
    z = torch.randn(9, 3).double()
    torch.testing.assert_close(base(z), reference.log_prob(z))
    drawn = base.sample(60_000)
    torch.testing.assert_close(drawn.mean(dim=0), reference.mean, rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.var(dim=0), reference.variance, rtol=0.05, atol=0)


def test_without_couplings_that_do_anything_points_are_normal():
    model = RealNVP(DataSpec((3,)), components=1, width=4).requires_grad_(False)
    for coupling in model.network.couplings:
        coupling.network[-1].weight.zero_()
    model.scaling.fit(torch.randn(500, 3) * torch.tensor([0.1, 1.0, 7.0]) + 4)
    reference = Independent(Normal(model.scaling.shift, model.scaling.scale), 1)
    x = reference.sample((8,))
    torch.testing.assert_close(model.log_prob(x), reference.log_prob(x))


@pytest.mark.parametrize("components", [1, 3])
def test_the_density_of_points_integrates_to_one_and_samples_follow_it(components):
    model = RealNVP(DataSpec((2,)))
    model.network = random_flow(2, components)
    model.scaling.fit(torch.tensor([[1.0, -2.0], [1.5, -1.0], [0.3, 3.0]]))
    low, high = (model.scaling.inverse(torch.full((2,), end)) for end in (-18.0, 18.0))
    sides = [torch.linspace(*ends, 701) for ends in zip(low, high, strict=True)]
    log_density = model.log_prob(torch.cartesian_prod(*sides)).double()
    cell = math.prod((side[1] - side[0]).item() for side in sides)
    assert log_density.exp().sum().item() * cell == pytest.approx(1, abs=0.01)
    expected = (log_density.exp() * log_density).sum().item() * cell
    found = model.log_prob(model.sample(8_000)).double()
    assert found.mean().item() == pytest.approx(expected, abs=5 * found.std().item() / 80)


def test_training_comes_near_the_entropy_of_separate_modes():
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])
    data = corners[torch.randint(3, (6_000,))] + 0.05 * torch.randn(6_000, 2)
    model = RealNVP(DataSpec((2,)), steps=300, batch_size=128, width=32, components=12)
    model.fit(data[:5_000], data[5_000:], 1.0, QUIET)
    with torch.no_grad():
        nll = -model.log_prob(data[5_000:]).mean().item()
    entropy = math.log(3) + math.log(2 * math.pi * math.e * 0.05**2)
    assert nll == pytest.approx(entropy, abs=0.4)
    nearest = torch.cdist(model.sample(1_000), corners).min(dim=1)
    assert torch.bincount(nearest.indices, minlength=3).min() > 250


def test_what_it_cannot_model_is_refused():
    with pytest.raises(ValueError, match="needs two coordinates or more, the data have 1"):
        RealNVP(DataSpec((1,)))
    with pytest.raises(ValueError, match="RealNVP has a density of points"):
        RealNVP(DataSpec((1, 8, 8), levels=17))
    with pytest.raises(ValueError, match="must be positive, got 4, 64 and 0"):
        RealNVP(DataSpec((2,)), components=0)


@pytest.mark.parametrize("data", ["ring"])
def test_it_keeps_its_promises_on_points(data):
    assert not [check for check in check_model("zoo.realnvp:RealNVP", data) if check.kept is False]
