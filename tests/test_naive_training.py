"""That the plain way to train PixelCNN++ is the same mathematics as ours."""

from copy import deepcopy

import pytest
import torch
from pixel_models import Silence, random_model

from zoo.naive_training import fit_naively, naive_outputs
from zoo.pixelcnn_pp import PixelCNNpp

STEPS = 4


class Losses(Silence):
    def __init__(self):
        self.values = []

    def __call__(self, step, total, **losses):
        self.values.append(losses["loss"])


def small_model(shape, **settings):
    settings = {"filters": 5, "blocks": 1, "scales": 3, "mixtures": 3, "dropout": 0.0} | settings
    settings |= {"batch_size": 32, "steps": STEPS}  # torch draws 32 images at a time, as ours does
    model = random_model(PixelCNNpp, shape, levels=7, **settings).double()
    model.scaling.register_forward_hook(lambda layer, inputs, scaled: scaled.double())
    return model


def trained(fit, model, images):
    """The losses of the steps and all weights in the end, from the same random numbers."""
    model, log = deepcopy(model), Losses()
    torch.manual_seed(1)
    fit(model, images, log)
    return log.values, list(model.parameters())


def ours(model, images, log):
    model.fit(images, images[:3], 1.0, log)


def naive(model, images, log):
    fit_naively(model, images, 1.0, log)


@pytest.mark.parametrize("shape", [(1, 8, 4), (3, 4, 8)])
def test_training_goes_through_the_same_losses_to_the_same_weights(shape):
    model, images = small_model(shape), torch.randint(7, (90, *shape), dtype=torch.uint8)

    losses, weights = trained(ours, model, images)
    naive_losses, naive_weights = trained(naive, model, images)

    assert len(losses) == STEPS
    assert len(set(losses)) == STEPS
    torch.testing.assert_close(naive_losses, losses, rtol=1e-7, atol=0)
    torch.testing.assert_close(naive_weights, weights, rtol=1e-7, atol=1e-9)
    first = list(model.parameters())
    assert min((a - b).abs().max() for a, b in zip(first, weights, strict=True)) > 1e-3


@pytest.mark.parametrize(("blocks", "scales"), [(2, 1), (2, 2), (1, 3)])
@torch.no_grad()
def test_the_plain_network_gives_the_same_outputs_in_torchs_own_layout(blocks, scales):
    network = small_model((3, 4, 8), blocks=blocks, scales=scales).conditionals.network
    scaled = torch.rand(2, 3, 4, 8).double()

    outputs = naive_outputs(network, scaled)

    torch.testing.assert_close(outputs, network(scaled), rtol=1e-10, atol=1e-10)
    assert outputs.is_contiguous()
    assert not network(scaled).is_contiguous()


def test_dropout_drops_in_training_only():
    network = small_model((1, 4, 4), dropout=0.5).conditionals.network
    scaled = torch.rand(2, 1, 4, 4).double()
    assert torch.equal(naive_outputs(network, scaled), naive_outputs(network, scaled))
    network.train()
    assert not torch.equal(naive_outputs(network, scaled), naive_outputs(network, scaled))
