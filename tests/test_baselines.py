import math

import pytest
import torch

from benchmark.data import load_dataset
from benchmark.spec import DataSpec
from zoo.baselines import Collapsed, HeldOutData, Memoriser, Noise, marginals


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def ring():
    return load_dataset("ring")


def fitted(model, data):
    model.fit(data.train, data.validation, 1.0, None)
    return model


def rows(x):
    return {tuple(row) for row in x.flatten(1).tolist()}


def test_held_out_data_are_validation_examples_none_twice(digits):
    drawn = fitted(HeldOutData(digits.spec), digits).sample(400)
    assert rows(drawn) == rows(digits.validation)


def test_memorised_examples_are_training_examples_none_twice(digits):
    drawn = fitted(Memoriser(digits.spec), digits).sample(400)
    assert rows(drawn) <= rows(digits.train)
    assert len(rows(drawn)) == 400


def test_more_examples_than_there_are_is_an_error(digits):
    with pytest.raises(ValueError, match="asked for 401 held-out examples, there are 400"):
        fitted(HeldOutData(digits.spec), digits).sample(401)


def test_collapsed_repeats_one_image(digits):
    assert len(rows(fitted(Collapsed(digits.spec), digits).sample(50))) == 1


def test_collapsed_points_are_one_whole_mode(ring):
    drawn = fitted(Collapsed(ring.spec), ring).examples
    nearest = torch.cdist(ring.train.double(), ring.mixture.means).argmin(dim=1)
    (mode,) = torch.cdist(drawn.double(), ring.mixture.means).argmin(dim=1).unique()
    assert len(drawn) == (nearest == mode).sum()


def test_noise_has_the_density_of_its_box(ring):
    noise = fitted(Noise(ring.spec), ring)
    area = noise.width.double().prod().item()
    torch.testing.assert_close(
        noise.log_prob(ring.test).exp(), torch.full((10_000,), 1 / area).double()
    )
    assert noise.log_prob(torch.tensor([[9.0, 0.0]])).item() == -math.inf


def test_noise_images_are_uniform_over_levels(digits):
    noise = fitted(Noise(digits.spec), digits)
    counts = torch.bincount(noise.sample(2_000).flatten().long(), minlength=17)
    expected = 2_000 * 64 / 17
    assert ((counts - expected).square() / expected).sum() < 40  # chi-square, 16 degrees: p = 1e-3
    torch.testing.assert_close(
        noise.log_prob(digits.test[:3]), torch.full((3,), -64 * math.log(17)).double()
    )


def test_pixel_marginals_are_smoothed_training_frequencies(digits):
    model = fitted(marginals(digits.spec), digits)
    x = digits.test[:5]
    by_hand = torch.zeros(5, dtype=torch.float64)
    for i in range(8):
        for j in range(8):
            counts = torch.bincount(digits.train[:, 0, i, j].long(), minlength=17).double() + 1
            by_hand += (counts / counts.sum()).log()[x[:, 0, i, j].long()]
    torch.testing.assert_close(model.log_prob(x), by_hand, rtol=1e-5, atol=1e-4)


def test_coordinate_marginals_know_both_axes_but_not_their_dependence(ring):
    model = fitted(marginals(ring.spec), ring)
    drawn = model.sample(20_000)
    # On the ring x and y are dependent; sorted on their own they are not.
    torch.testing.assert_close(drawn.std(dim=0), ring.train.std(dim=0), rtol=0.03, atol=0.0)
    distance = torch.cdist(drawn.double(), ring.mixture.means).amin(dim=1)
    assert (distance < 0.05).float().mean() < 0.5


def test_a_colour_image_has_marginals_for_each_channel():
    train = torch.randint(0, 4, (300, 3, 2, 2), dtype=torch.uint8)
    train[:, 1] = 2
    model = marginals(DataSpec((3, 2, 2), levels=4))
    model.fit(train, train, 1.0, None)
    assert (model.sample(200)[:, 1] == 2).float().mean() > 0.95
