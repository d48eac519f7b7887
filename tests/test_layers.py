"""What the zoo's networks share."""

import torch
from torch import nn
from torch.testing import assert_close

from benchmark.spec import DataSpec
from zoo.layers import ToMaps, synthesiser


def test_maps_hold_the_same_numbers_in_training_and_outside_it_where_channels_come_last():
    to_maps, x = ToMaps(3, 2, 4), torch.randn(5, 24)
    expected = nn.Unflatten(1, (3, 2, 4))(x)
    assert torch.equal(to_maps(x), expected)
    outside = to_maps.eval()(x)
    assert torch.equal(outside, expected)
    assert outside.is_contiguous(memory_format=torch.channels_last)


def test_a_generator_of_images_gives_the_same_images_in_training_and_outside_it():
    network, z = synthesiser(DataSpec((3, 7, 9), levels=5), 4, 6, nn.ReLU), torch.randn(8, 4)
    assert network(z).shape == (8, 3, 7, 9)
    assert_close(network(z), network.eval()(z))
