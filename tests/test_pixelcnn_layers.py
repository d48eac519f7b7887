import pytest
import torch
from torch import nn
from torch.nn import functional

from zoo.pixelcnn_layers import (
    ABOVE,
    LEFT,
    CausalConv,
    GatedBlock,
    concat_elu,
    initialise_from_data,
)


def test_concat_elu_and_its_gradient_are_those_of_elu():
    x = torch.randn(3, 4, 2, 2, dtype=torch.float64, requires_grad=True)

    torch.testing.assert_close(concat_elu(x), functional.elu(torch.cat([x, -x], dim=1)))
    assert torch.autograd.gradcheck(concat_elu, x)


def test_length_of_the_weights_does_not_depend_on_their_direction():
    convolution = CausalConv(3, 5, (2, 3))
    with torch.no_grad():
        convolution.direction *= 7
        convolution.length.copy_(torch.arange(1.0, 6.0))

    norms = convolution.weight().flatten(1).norm(dim=1)

    torch.testing.assert_close(norms, torch.arange(1.0, 6.0))


def test_features_are_dropped_in_training_only_and_their_mean_is_kept():
    block = GatedBlock(6, (2, 2), dropout=0.4)
    x = torch.randn(1, 6, 4, 4)
    # With a gate that is always half open the block is linear in what is dropped.
    with torch.no_grad():
        block.outer.length[6:] = 0
    exact = block.eval()(x)
    block.train()

    draws = torch.stack([block(x) for _ in range(2_000)]).detach()

    assert torch.equal(block.eval()(x), exact)
    error = draws.std(dim=0) / 2_000**0.5
    assert (error > 0).all()
    assert ((draws.mean(dim=0) - exact).abs() < 5 * error).all()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [ABOVE, LEFT, (1, 3), (1, 1)])
def test_outputs_are_sums_over_the_positions_that_may_be_seen(kernel, stride):
    convolution = CausalConv(3, 2, kernel, stride=stride).double()
    x = torch.randn(1, 3, 4, 6, dtype=torch.float64)
    height, width = kernel
    weight, expected = convolution.weight(), torch.zeros(1, 2, 4, 6, dtype=torch.float64)
    for row, column in torch.cartesian_prod(torch.arange(4), torch.arange(6)).tolist():
        for i in range(height):
            for j in range(width):
                above, beside = row - height + 1 + i, column - width // 2 + j
                if above >= 0 and 0 <= beside < 6:
                    expected[0, :, row, column] += weight[:, :, i, j] @ x[0, :, above, beside]

    torch.testing.assert_close(convolution(x), expected[:, :, ::stride, ::stride])


def test_first_batch_gives_every_layer_mean_zero_and_the_deviation_it_should_have():
    layers = [CausalConv(3, 8, LEFT), nn.ELU(), CausalConv(8, 5, ABOVE, gain=0.1)]
    network = nn.Sequential(*layers).double()
    with torch.no_grad():
        layers[0].length *= 30
        layers[2].bias += torch.arange(5)
    x = 4 + torch.randn(20, 3, 6, 6, dtype=torch.float64)
    direction = layers[2].direction.detach().clone()

    initialise_from_data(network, x)

    hidden = layers[0](x)
    torch.testing.assert_close(hidden.mean(dim=(0, 2, 3)), torch.zeros(8).double())
    torch.testing.assert_close(hidden.std(dim=(0, 2, 3), correction=0), torch.ones(8).double())
    output = network(x)
    torch.testing.assert_close(output.mean(dim=(0, 2, 3)), torch.arange(5).double())
    deviation = torch.full((5,), 0.1).double()
    torch.testing.assert_close(output.std(dim=(0, 2, 3), correction=0), deviation)
    assert torch.equal(layers[2].direction, direction)


def test_a_block_is_the_published_formula():
    block = GatedBlock(4, LEFT, dropout=0.0, told=2, classes=3).double()
    x, told = (torch.randn(2, features, 3, 3, dtype=torch.float64) for features in (4, 8))
    labels = torch.tensor([2, 0])

    def both(x):
        return functional.elu(torch.cat([x, -x], dim=1))

    hidden = block.inner(both(x)) + block.link(both(told))
    value, gate = (block.outer(both(hidden)) + block.label.weight[labels, :, None, None]).split(
        4, 1
    )
    expected = x + value * torch.sigmoid(gate)

    torch.testing.assert_close(block(x, told, labels), expected)
