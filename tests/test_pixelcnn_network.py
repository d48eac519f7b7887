import pytest
import torch
from torch.nn import functional

from zoo.logistic_mixture import LogisticMixture, mixture_from, parameter_count
from zoo.pixelcnn_network import Level, Lower, PixelNetwork, shifted

MIXTURES = 2


def random_network(channels, scales, filters=3, blocks=1, classes=None):
    """Weights far from their first values, so that everything matters."""
    outputs = parameter_count(channels, MIXTURES)
    network = PixelNetwork(channels, outputs, filters, blocks, scales, 0.0, classes).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return network.eval()


def log_masses(network, x):
    """Of each channel given those before it, [H * W * C] in the order they are drawn in."""
    channels = x.shape[1]
    whole = mixture_from(network(x), channels, MIXTURES, levels=256)

    def of_first(count):
        parts = whole.means[:, :count], whole.log_scales[:, :count]
        slopes = whole.slopes[:, : count * (count - 1) // 2]
        first = LogisticMixture(whole.log_weights, *parts, slopes, 256)
        return first.log_prob(x[:, :count]) if count else torch.zeros_like(x[:, 0])

    together = torch.stack([of_first(count) for count in range(channels + 1)], dim=-1)
    return together.diff(dim=-1).flatten()


@pytest.mark.parametrize(
    ("channels", "side", "scales", "blocks"),
    [(1, 5, 1, 3), (3, 4, 1, 3), (2, 4, 2, 1), (1, 8, 3, 2), (3, 4, 3, 1)],
)
def test_a_channel_feels_every_earlier_one_and_no_later_one(channels, side, scales, blocks):
    network = random_network(channels, scales, blocks=blocks)
    x = 1.6 * torch.rand(1, channels, side, side).double() - 0.8

    felt = torch.autograd.functional.jacobian(lambda x: log_masses(network, x), x)
    felt = felt.squeeze(1).permute(0, 2, 3, 1).flatten(1)  # columns in the order of drawing, too

    numbers = channels * side * side
    later, earlier = torch.tril_indices(numbers, numbers, offset=-1)
    assert (felt.triu(diagonal=1) == 0).all()
    assert (felt[later, earlier] != 0).all()


def test_a_label_reaches_every_pixel():
    network = random_network(1, 2, classes=3)
    x = torch.rand(1, 1, 4, 4).double().expand(3, -1, -1, -1)

    outputs = network(x, torch.tensor([0, 1, 0]))

    assert torch.equal(outputs[0], outputs[2])
    assert (outputs[0] - outputs[1]).abs().amin() > 1e-6


def test_the_way_up_is_a_transposed_convolution_of_the_scale_below():
    lower = Lower(3, Level(3, 0, 0, 1, 0.0, None))
    above, left = torch.randn(2, 2, 3, 4, 6)

    found = lower((above, left), None)

    for stream, reduce, raising in zip(
        (above, left),
        (lower.reduce_above, lower.reduce_left),
        (lower.raise_above, lower.raise_left),
        strict=True,
    ):
        reduced, weight = reduce(stream), raising.weight()
        # [outputs, 2, 2, inputs, breadth]: a column further right sees what is further left.
        kernel = weight.unflatten(0, (3, 2, 2)).squeeze(4)
        breadth = weight.shape[3]
        spread = torch.zeros(3, 3, 2, 2 * breadth)
        for j in range(breadth):
            spread[:, :, :, 2 * (breadth - 1 - j) : 2 * (breadth - j)] = kernel[..., j].permute(
                3, 0, 1, 2
            )
        expected = functional.conv_transpose2d(reduced, spread, stride=2)
        surplus = breadth - 1
        expected = expected[:, :, :, surplus : expected.shape[3] - surplus]
        torch.testing.assert_close(found[0] if stream is above else found[1], expected)


@pytest.mark.parametrize(("scales", "up"), [(1, [0]), (2, [3, 2]), (3, [3, 3, 2])])
def test_numbers_of_blocks_are_those_of_the_authors_code(scales, up):
    level, found = random_network(1, scales, blocks=2).level, []
    while level is not None:
        assert len(level.down) == 2
        found.append(len(level.up))
        level = level.lower and level.lower.level

    assert found == up


def test_images_are_shifted_and_the_places_are_not():
    x = torch.arange(1.0, 7).view(1, 1, 2, 3)

    down, right = shifted(x)

    assert down[0, 0].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert right[0, 0].tolist() == [[0, 1, 2], [0, 4, 5]]
    assert down[0, 1].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert right[0, 1].tolist() == [[0, 1, 1], [0, 1, 1]]
    for part in (down, right):
        assert part[0, 2].tolist() == [[-1, -1, -1], [1, 1, 1]]
        assert part[0, 3].tolist() == [[-1, 0, 1], [-1, 0, 1]]
