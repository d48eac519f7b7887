"""Networks stacked as one, against each of them alone."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from zoo.together import Together

COPIES = 3


def points_network():
    return nn.Sequential(nn.Linear(2, 7), nn.Tanh(), nn.Linear(7, 3))


def image_network():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(48, 2))


CASES = [(points_network, (2,)), (image_network, (1, 3, 4))]


@pytest.mark.parametrize(("build", "shape"), CASES, ids=["points", "images"])
@pytest.mark.parametrize("copies", [1, COPIES])
def test_values_and_gradients_are_those_of_each_network_alone(build, shape, copies):
    networks = [build().double() for _ in range(copies)]
    together = Together(networks)
    x = torch.randn(copies, 6, *shape, dtype=torch.float64)
    found = together(x)
    found.square().mean(dim=(1, 2)).sum().backward()
    for s, network in enumerate(networks):
        expected = network(x[s])
        torch.testing.assert_close(found[s], expected)
        expected.square().mean().backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(together.stacked()[name].grad[s], parameter.grad)


@pytest.mark.parametrize("copies", [1, COPIES])
def test_the_gradient_of_a_penalty_on_slopes_is_that_of_each_network_alone(copies):
    networks = [points_network().double() for _ in range(copies)]
    together = Together(networks)
    x = torch.randn(copies, 4, 2, dtype=torch.float64, requires_grad=True)

    def penalty(network, at):
        (slopes,) = torch.autograd.grad(network(at).sum(), at, create_graph=True)
        return slopes.norm(dim=-1).square().sum()

    weights = together.stacked()["0.weight"]
    (found,) = torch.autograd.grad(penalty(together, x), weights)
    for s, network in enumerate(networks):
        alone = x[s].detach().requires_grad_()
        (expected,) = torch.autograd.grad(penalty(network, alone), network[0].weight)
        torch.testing.assert_close(found[s], expected)


@pytest.mark.parametrize("copies", [1, COPIES])
def test_other_parameters_take_the_place_of_the_own_ones_and_get_the_gradient(copies):
    together, others = (
        Together([points_network() for _ in range(copies)]),
        Together([points_network() for _ in range(copies)]),
    )
    x = torch.randn(copies, 6, 2)
    given = others.stacked()
    found = together(x, given)
    torch.testing.assert_close(found, others(x))
    found.sum().backward()
    assert all(value.grad is not None for value in given.values())
    assert all(value.grad is None for value in together.stacked().values())
    partly = together(x, {"2.bias": together.stacked()["2.bias"] + 1})
    torch.testing.assert_close(partly, together(x) + 1)


def test_the_networks_get_their_own_weights_back_and_not_before():
    networks = [points_network() for _ in range(COPIES)]
    before = [copy.deepcopy(network) for network in networks]
    together = Together(networks)
    with torch.no_grad():
        for value in together.stacked().values():
            value += torch.arange(1.0, COPIES + 1).view(-1, *[1] * (value.ndim - 1))
    for network, old in zip(networks, before, strict=True):
        assert torch.equal(network[0].weight, old[0].weight)
    together.write_back()
    for s, (network, old) in enumerate(zip(networks, before, strict=True)):
        for new, value in zip(network.parameters(), old.parameters(), strict=True):
            torch.testing.assert_close(new, value + s + 1)


class Tied(nn.Module):
    """Uses one weight in two places, and a buffer that no checkpoint holds."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("mask", torch.randn(4), persistent=False)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)) * self.mask)


@pytest.mark.parametrize("copies", [1, COPIES])
def test_a_shared_weight_gets_the_gradients_of_all_its_places(copies):
    networks = [Tied().double() for _ in range(copies)]
    together = Together(networks)
    x = torch.randn(copies, 6, 4, dtype=torch.float64)
    together(x).square().sum().backward()
    for s, network in enumerate(networks):
        network(x[s]).square().sum().backward()
        found = together.stacked()["first.weight"].grad[s]
        torch.testing.assert_close(found, network.first.weight.grad)


@pytest.mark.parametrize("copies", [1, COPIES])
@pytest.mark.parametrize("fails", [False, True], ids=["computed", "failed"])
def test_networks_hold_their_own_tensors_after_a_call_even_one_that_failed(copies, fails):
    networks = [Tied() for _ in range(copies)]
    together = Together(networks)
    own = [[*network.parameters(), *network.buffers()] for network in networks]
    width = 3 if fails else 4
    with pytest.raises(RuntimeError) if fails else nullcontext():
        together(torch.randn(copies, 6, width))
    for network, tensors in zip(networks, own, strict=True):
        held = [*network.parameters(), *network.buffers()]
        assert all(ours is theirs for ours, theirs in zip(held, tensors, strict=True))


def test_a_copy_computes_with_its_own_weights():
    together = Together([points_network()])
    x = torch.randn(1, 6, 2)
    before = together(x)
    other = copy.deepcopy(together)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    assert not torch.allclose(other(x), before)
    torch.testing.assert_close(together(x), before)


def test_dropout_is_drawn_for_each_network_on_its_own_and_only_in_training():
    together = Together([nn.Dropout(0.5) for _ in range(2)])
    kept = together(torch.ones(2, 1, 200)) > 0
    assert not torch.equal(kept[0], kept[1])
    assert together.eval()(torch.ones(2, 1, 200)).min() == 1


def test_nothing_cannot_be_together():
    with pytest.raises(ValueError, match="at least one network"):
        Together([])
