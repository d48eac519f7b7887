import torch
from torch.nn import functional

from zoo.pixelcnn_layers import CausalConv, GatedBlock, concat_elu


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
    exact = block.eval()(x, None, None)
    block.train()

    draws = torch.stack([block(x, None, None) for _ in range(2_000)]).detach()

    assert torch.equal(block.eval()(x, None, None), exact)
    error = draws.std(dim=0) / 2_000**0.5
    assert (error > 0).all()
    assert ((draws.mean(dim=0) - exact).abs() < 5 * error).all()
