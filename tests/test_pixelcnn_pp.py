from itertools import product

import pytest
import torch
from pixel_models import Silence

from benchmark.data.mixture import ring
from benchmark.spec import DataSpec, Density, Sampler, Trainable
from zoo.pixelcnn_network import shifted
from zoo.pixelcnn_pp import PAPER, PixelCNNpp


def random_model(spec, **settings):
    """A model whose weights are far from their first values, so that everything matters."""
    model = PixelCNNpp(spec, **{"filters": 6, "blocks": 3, "mixtures": 3} | settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return model


def every_image(shape, levels):
    dims = DataSpec(shape, levels).dims
    return torch.tensor(list(product(range(levels), repeat=dims))).view(-1, *shape)


def test_satisfies_density_sampler_and_trainable():
    for spec in (DataSpec((1, 4, 3), levels=5), DataSpec((2,))):
        model = PixelCNNpp(spec)
        assert isinstance(model, Density)
        assert isinstance(model, Sampler)
        assert isinstance(model, Trainable)


@pytest.mark.parametrize(
    ("shape", "levels", "settings"),
    [
        ((1, 2, 2), 3, {}),
        ((2, 2, 1), 3, {}),
        ((4, 1, 1), 3, {}),
        ((2, 2, 2), 3, {"blocks": 1}),
        ((2, 2, 2), 3, {"scales": 2, "blocks": 1}),
        ((1, 2, 2), 3, {"scales": 2, "classes": 3}),
        ((1, 4, 4), 2, {"scales": 3, "blocks": 1, "filters": 4}),
    ],
)
@torch.no_grad()
def test_probabilities_of_all_images_sum_to_one(shape, levels, settings):
    model = random_model(DataSpec(shape, levels), **settings)

    log_prob = model.log_prob(every_image(shape, levels))

    assert log_prob.std() > 0.5
    assert torch.logsumexp(log_prob, dim=0).item() == pytest.approx(0, abs=1e-5)


def test_density_of_points_integrates_to_one():
    model = random_model(DataSpec((2,)))
    model.scaling.fit(torch.tensor([[1.0, -2.0], [1.5, -1.0], [0.3, 3.0]]))
    low, high = (model.scaling.inverse(torch.full((2,), end)) for end in (-25.0, 25.0))
    sides = [torch.linspace(*ends, 801) for ends in zip(low, high, strict=True)]

    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(*sides)).exp().view(801, 801).double()

    integral = torch.trapezoid(torch.trapezoid(density, sides[1].double()), sides[0].double())
    assert integral.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "settings"), [((1, 1, 3), {}), ((1, 2, 2), {"scales": 2, "classes": 2, "blocks": 1})]
)
@torch.no_grad()
def test_sampled_images_have_their_probabilities_as_frequencies(shape, settings):
    model = random_model(DataSpec(shape, levels=2), **settings)
    every = every_image(shape, 2)
    expected = 20_000 * model.log_prob(every).exp()

    drawn = model.sample(20_000)

    index = drawn.flatten(1).long() @ (2 ** torch.arange(every[0].numel() - 1, -1, -1))
    counts = torch.bincount(index, minlength=len(every))
    assert drawn.dtype == torch.uint8
    excess = ((counts - expected).square() / expected).sum()
    assert excess < {8: 24.4, 16: 37.7}[len(every)]  # exceeded once in a thousand


@torch.no_grad()
def test_images_completed_have_their_probabilities_given_the_rows_kept():
    model = random_model(DataSpec((1, 2, 2), levels=2), scales=2, classes=2, blocks=1)
    rest = every_image((1, 1, 2), 2)
    upper = torch.tensor([1, 0]).view(1, 1, 1, 2)
    log_prob = model.log_prob(torch.cat([upper.expand_as(rest), rest], dim=2))
    expected = 10_000 * log_prob.softmax(dim=0)

    completed = model.complete(upper.expand(10_000, 1, 2, 2), rows=1)

    counts = torch.bincount(completed[:, 0, 1].long() @ torch.tensor([2, 1]), minlength=4)
    assert (completed[:, :, :1] == upper).all()
    assert ((counts - expected).square() / expected).sum() < 16.3  # 3 degrees: once in a thousand


def test_log_prob_takes_bytes_and_does_not_depend_on_the_batch():
    model = random_model(DataSpec((3, 4, 4), levels=256), dropout=0.5)
    images = torch.randint(0, 256, (6, 3, 4, 4))
    whole = model.log_prob(images)

    model._chunk = 4  # as it is where images are large

    torch.testing.assert_close(model.log_prob(images.byte()), whole)
    torch.testing.assert_close(torch.cat([model.log_prob(one) for one in images.split(1)]), whole)


def test_training_with_labels_tells_classes_apart():
    data = torch.randint(0, 2, (400, 1, 4, 4)).byte()
    labels = torch.arange(400) % 4 // 3  # three of four are of the first class
    data[labels == 1] += 3
    model = PixelCNNpp(DataSpec((1, 4, 4), levels=5), steps=200, filters=8, blocks=1, classes=2)

    model.fit(data[:300], data[300:], 1.0, Silence(), (labels[:300], labels[300:]))

    x, y = data[300:], labels[300:]
    with torch.no_grad():
        right, wrong = model.log_prob(x, y), model.log_prob(x, 1 - y)
    assert (right > wrong + 1).all()
    drawn = model.sample(100, torch.arange(100) % 2).float().mean(dim=(1, 2, 3))
    assert drawn[1::2].mean() > drawn[::2].mean() + 2
    assert 0.1 < (model.sample(200).float().mean(dim=(1, 2, 3)) > 2).float().mean() < 0.4


def test_data_set_the_first_values_of_images_and_not_of_points():
    images = torch.randint(0, 5, (40, 1, 4, 4)).byte()
    model = PixelCNNpp(DataSpec((1, 4, 4), levels=5), steps=1, batch_size=40, learning_rate=0.0)

    model.fit(images, images, 1.0, Silence())

    hidden = model.conditionals.network.above_input.forward
    outputs = hidden(shifted(model.scaling(images))[0])
    torch.testing.assert_close(outputs.mean(dim=(0, 2, 3)), torch.zeros(32), rtol=0, atol=1e-5)
    torch.testing.assert_close(outputs.std(dim=(0, 2, 3)), torch.ones(32), rtol=0, atol=2e-3)
    points = PixelCNNpp(DataSpec((2,)), steps=1, learning_rate=0.0)
    before = [parameter.clone() for parameter in points.parameters()]
    points.fit(torch.randn(300, 2), torch.randn(20, 2), 1.0, Silence())
    assert all(map(torch.equal, before, points.parameters()))


def test_the_size_of_the_paper_is_one_configuration():
    model = PixelCNNpp(DataSpec((3, 32, 32), levels=256), **PAPER)

    # 53 to 54 million have been counted in the authors' code.
    assert 53e6 < sum(parameter.numel() for parameter in model.parameters()) < 55e6


@pytest.mark.parametrize(
    ("shape", "scales", "divisor"), [((1, 30, 28), 3, 4), ((3, 28, 6), 3, 4), ((1, 5, 4), 2, 2)]
)
def test_sizes_that_cannot_be_halved_are_refused_in_one_line(shape, scales, divisor):
    with pytest.raises(ValueError, match=f"{scales} scales .* divisible by {divisor}$") as error:
        PixelCNNpp(DataSpec(shape, levels=256), scales=scales)
    assert "\n" not in str(error.value)


def test_classes_are_for_images_and_scales_are_positive():
    with pytest.raises(ValueError, match="classes are for images"):
        PixelCNNpp(DataSpec((2,)), classes=3)
    with pytest.raises(ValueError, match="scales must be positive, got 0"):
        PixelCNNpp(DataSpec((1, 4, 4), levels=2), scales=0)


@pytest.mark.parametrize("spec", [DataSpec((1, 4, 4), levels=5), DataSpec((2,))])
def test_training_lowers_the_loss_and_repeats_exactly_from_its_seed(spec):
    if spec.is_image:
        data = torch.randint(0, 2, (64, 1, 4, 1)).expand(-1, -1, -1, 4).byte()
    else:
        data = ring().sample(500).float()

    def trained():
        torch.manual_seed(3)
        model = PixelCNNpp(spec, steps=600, batch_size=16, filters=8)
        before = model.log_prob(data).mean()
        model.fit(data[:400], data[-32:], budget=0.1, log=Silence())
        return before, model

    (before, first), (_, second) = trained(), trained()

    assert first.log_prob(data).mean() > before + 0.3
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    restored = PixelCNNpp(spec, filters=8)
    restored.load_state_dict(first.state_dict())
    assert torch.equal(restored.log_prob(data), first.log_prob(data))


def test_points_are_drawn_from_the_density():
    model = random_model(DataSpec((2,)))
    model.scaling.fit(torch.tensor([[1.0, -2.0], [1.5, -1.0], [0.3, 3.0]]))
    drawn = model.sample(20_000)
    inside = drawn[(drawn - model.scaling.shift).abs().amax(dim=1) < 4]
    cells = ((inside - model.scaling.shift) / 2).floor().long() + 2  # 4x4 cells of side 2
    counts = torch.bincount(cells[:, 0] * 4 + cells[:, 1], minlength=16)
    fine = (torch.arange(400) + 0.5) / 50 - 4
    grid = torch.cartesian_prod(fine, fine) + model.scaling.shift

    with torch.no_grad():
        mass = model.log_prob(grid).exp().view(4, 100, 4, 100).sum(dim=(1, 3)).flatten() / 50**2

    expected = 20_000 * mass
    likely = expected > 5
    excess = (counts - expected).square()[likely] / expected[likely]
    assert likely.sum() > 8
    assert excess.sum() < 39.3  # 16 degrees of freedom: exceeded once in a thousand
