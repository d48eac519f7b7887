"""Autoregressive models of images in general position, for the tests of all their families."""

from functools import partial
from itertools import product

import torch

from benchmark.spec import DataSpec
from zoo.gated_pixelcnn import GatedPixelCNN
from zoo.pixelcnn import PixelCNN
from zoo.pixelrnn import PixelRNN

FAMILIES = {
    "pixelcnn": PixelCNN,
    "gated_pixelcnn": GatedPixelCNN,
    "row_lstm": partial(PixelRNN, kind="row"),
    "diagonal_bilstm": partial(PixelRNN, kind="diagonal"),
}


class Silence:
    folder = None
    precision = "32-true"

    def __call__(self, step, total, **losses):
        pass

    def snapshot(self, step, total, sample):
        pass


def random_model(make, shape, levels, **settings):
    """A model whose weights are far from their first values, so that everything matters."""
    model = make(DataSpec(shape, levels), **{"filters": 12, "blocks": 3} | settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def every_image(shape, levels):
    dims = DataSpec(shape, levels).dims
    return torch.tensor(list(product(range(levels), repeat=dims))).view(-1, *shape)
