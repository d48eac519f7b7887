from itertools import product

import pytest
import torch

from benchmark.data.mixture import ring
from benchmark.spec import DataSpec, Density, Sampler, Trainable
from zoo.pixelcnn_pp import PixelCNNpp


class Silence:
    folder = None
    precision = "32-true"

    def __call__(self, step, total, **losses):
        pass

    def snapshot(self, step, total, sample):
        pass


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


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pixel_depends_on_every_earlier_pixel_and_on_no_later_one(channels):
    height, width = 4, 5
    conditionals = random_model(DataSpec((channels, height, width), 256)).double().conditionals
    x = 1.6 * torch.rand(1, channels, height, width).double() - 0.8

    def log_masses(x):
        return conditionals.mixture(conditionals.network(x)).log_prob(x).flatten()

    def parameters(x):
        return conditionals.network(x).abs().sum(dim=1).flatten()

    def felt(function):
        """[pixel, pixel]: how much each of the first feels any channel of each of the second."""
        gradient = torch.autograd.functional.jacobian(function, x)
        return gradient.view(height * width, channels, height * width).abs().amax(dim=1)

    later, earlier = torch.tril_indices(height * width, height * width, offset=-1)
    assert (felt(log_masses).triu(diagonal=1) == 0).all()
    assert (felt(log_masses)[later, earlier] > 0).all()
    assert (felt(parameters).triu(diagonal=0) == 0).all()


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2), (2, 2, 1), (4, 1, 1)])
def test_probabilities_of_all_images_sum_to_one(shape):
    model = random_model(DataSpec(shape, levels=3))

    log_prob = model.log_prob(every_image(shape, levels=3))

    assert log_prob.shape == (81,)
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


@pytest.mark.parametrize(("shape", "levels"), [((1, 6, 5), 17), ((3, 4, 6), 256)])
def test_cached_sampling_equals_running_the_whole_network_for_every_pixel(shape, levels):
    conditionals = random_model(DataSpec(shape, levels), filters=8).conditionals
    uniform = torch.rand(4, *conditionals.noise_shape)
    seen, mixture = [], conditionals.mixture
    conditionals.mixture = lambda parameters: seen.append(parameters) or mixture(parameters)

    with torch.no_grad():
        cached = conditionals.sample(uniform)
        naive = torch.zeros(4, *shape)
        for step, (row, column) in enumerate(product(range(shape[1]), range(shape[2]))):
            parameters = conditionals.network(naive)[:, :, row, column]
            torch.testing.assert_close(seen[step], parameters, rtol=1e-5, atol=1e-5)
            naive[:, :, row, column] = mixture(parameters).sample(uniform[:, :, row, column])

    assert len(cached.unique()) > 4
    assert torch.equal(cached, naive)


def test_sampled_images_have_their_probabilities_as_frequencies():
    spec = DataSpec((1, 1, 3), levels=2)
    model = random_model(spec)
    expected = 40_000 * model.log_prob(every_image(spec.shape, 2)).exp().detach()

    drawn = model.sample(40_000)

    index = drawn.flatten(1).long() @ torch.tensor([4, 2, 1])
    counts = torch.bincount(index, minlength=8)
    assert drawn.dtype == torch.uint8
    assert ((counts - expected).square() / expected).sum() < 24.4  # 7 degrees: once in a thousand


def test_log_prob_takes_bytes_and_does_not_depend_on_the_batch():
    model = random_model(DataSpec((3, 4, 4), levels=256), dropout=0.5)
    images = torch.randint(0, 256, (6, 3, 4, 4))
    whole = model.log_prob(images)

    model._chunk = 4  # as it is where images are large

    torch.testing.assert_close(model.log_prob(images.byte()), whole)
    torch.testing.assert_close(torch.cat([model.log_prob(one) for one in images.split(1)]), whole)


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
