"""What networks of causal layers promise: by differentiation, enumeration, the plain loop."""

from itertools import product

import pytest
import torch
from pixel_models import FAMILIES, every_image, random_model

from zoo.naive_sampling import draw_naively

families = pytest.mark.parametrize("family", FAMILIES)


def felt(model):
    """[sub-pixel, sub-pixel], pixels in raster order: the second moves the first's logits.

    It is enough that it does so for one image of several: rectifiers may stand in the way.
    """
    channels, height, width = model.spec.shape
    conditionals = model.double().conditionals
    weights = torch.randn(1, channels, model.spec.levels, height, width).double()

    def findings(x):
        logits = conditionals.outputs(x, None).unflatten(1, (channels, -1))
        return (logits * weights).sum(dim=2).permute(0, 2, 3, 1).flatten()

    images = 1.8 * torch.rand(5, 1, *model.spec.shape).double() - 0.9
    jacobians = [torch.autograd.functional.jacobian(findings, x)[:, 0] for x in images]
    return torch.stack(jacobians).ne(0).any(dim=0).permute(0, 2, 3, 1).flatten(1)


def all_before(channels, pixels):
    return torch.ones(channels * pixels, channels * pixels).tril(diagonal=-1).bool()


def steps_of(rows, reach):
    """Where masked convolution looks from a pixel, itself included: (rows up, columns right)."""
    above = product(range(1, rows), range(-reach, reach + 1))
    return [*above, *((0, column) for column in range(-reach, 1))]


def spread(field, steps):
    """The fields of the pixels that are so many steps away."""
    return {(up + row, right + column) for row, column in field for up, right in steps}


def reached(field, channels, height, width):
    """As `felt`, for a field (rows up, columns right) of every pixel; channels in turn within."""
    expected = torch.zeros(height, width, channels, height, width, channels).bool()
    for row, column in product(range(height), range(width)):
        for up, right in field:
            if row - up >= 0 and 0 <= column + right < width:
                expected[row, column, :, row - up, column + right] = True
        expected[row, column, :, row, column] = all_before(channels, 1)
    return expected.flatten(0, 2).flatten(1)


def pixelcnn_field(blocks):
    field = set(steps_of(4, 3)) - {(0, 0)}
    for _ in range(blocks):
        field |= spread(field, steps_of(2, 1))
    return field


def row_lstm_field(blocks, height):
    field = set(steps_of(4, 3)) - {(0, 0)}
    for _ in range(blocks):
        state = spread(field, steps_of(1, 1))
        for _ in range(height):
            state |= spread(state, [(1, -1), (1, 0), (1, 1)])
        field |= state
    return field


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5)])
@pytest.mark.parametrize("family", ["gated_pixelcnn", "diagonal_bilstm"])
def test_every_sub_pixel_before_is_seen_and_none_after(family, shape):
    model = random_model(FAMILIES[family], shape, levels=5)
    assert torch.equal(felt(model), all_before(shape[0], 20))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("family", ["pixelcnn", "row_lstm"])
def test_what_is_seen_is_what_the_definition_reaches(family, channels):
    shape = (channels, 3, 12)
    model = random_model(FAMILIES[family], shape, levels=3, blocks=2)
    field = pixelcnn_field(2) if family == "pixelcnn" else row_lstm_field(2, height=3)
    assert torch.equal(felt(model), reached(field, *shape))


def test_only_pixelcnn_has_a_blind_spot():
    # Of 2 x 10 pixels, what the first one of the second row sees of those above.
    seen = {
        family: felt(random_model(FAMILIES[family], (1, 2, 10), levels=3, blocks=7))[10, :10]
        for family in ("pixelcnn", "gated_pixelcnn", "diagonal_bilstm")
    }
    assert torch.equal(seen["pixelcnn"], torch.arange(10) <= 3)
    assert seen["gated_pixelcnn"].all()
    assert seen["diagonal_bilstm"].all()


@families
@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2, 2)])
def test_probabilities_of_all_images_sum_to_one(family, shape):
    model = random_model(FAMILIES[family], shape, levels=3)

    with torch.no_grad():
        log_prob = model.log_prob(every_image(shape, levels=3))

    assert log_prob.std() > 0.3
    assert torch.logsumexp(log_prob, dim=0).item() == pytest.approx(0, abs=1e-5)


def spy_on_logits(conditionals):
    """Keeps what each sub-pixel is drawn from, as far as it is right: up to its own channel."""
    seen, draw_pixel = [], conditionals.pixel

    def pixel(outputs, uniform):
        turn = len(seen) % conditionals.turns
        seen.append(outputs.unflatten(1, (conditionals.turns, -1))[:, : turn + 1])
        return draw_pixel(outputs, uniform)

    conditionals.pixel = pixel
    return seen


@families
@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize(("shape", "levels"), [((1, 6, 5), 17), ((3, 4, 6), 256)])
def test_cached_sampling_equals_running_the_whole_network_for_every_sub_pixel(
    family, shape, levels, rows
):
    conditionals = random_model(FAMILIES[family], shape, levels).conditionals
    uniform = torch.rand(4, *conditionals.noise_shape)
    known = (2 * torch.randint(levels, (4, *shape)) + 1) / levels - 1
    seen = spy_on_logits(conditionals)

    with torch.no_grad():
        cached = conditionals.draw(uniform, known, rows, None)
        naive = draw_naively(conditionals, uniform, known, rows)

    assert len(cached[:, :, rows:].unique()) > 4
    assert torch.equal(cached, naive)
    assert torch.equal(cached[:, :, :rows], known[:, :, :rows])
    drawn = shape[0] * (shape[1] - rows) * shape[2]
    for ours, theirs in zip(seen[:drawn], seen[drawn:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@families
def test_numbers_said_to_be_kept_are_those_that_are_kept(family):
    conditionals = random_model(FAMILIES[family], (3, 4, 60), levels=7).conditionals
    walk = conditionals.network.walk(5, None)
    walk.next_row()

    layers = walk.layers.values()
    kept = sum(v.numel() for layer in layers for v in vars(layer).values() if is_kept(v))

    assert kept / 5 == pytest.approx(conditionals.cached, rel=0.2)


def is_kept(value):
    return isinstance(value, torch.Tensor) and len(value) == 5
