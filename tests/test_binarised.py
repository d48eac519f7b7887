from pathlib import Path

import numpy as np
import pytest
import torch
from test_data import real_root

from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.data.binarised import LAROCHELLE_FILES, _binarised
from benchmark.errors import UserError
from benchmark.spec import DataSpec

EACH = 500  # images of every grey level


def grey_images() -> DataSet:
    """Images of one grey level each, every level as often; the level is the label."""
    levels = torch.arange(256).repeat(EACH)
    images = levels.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 2, 3)
    spec = DataSpec((1, 2, 3), levels=256)
    return DataSet("grey", spec, images, images[:512], images[:256], levels, levels[:256])


def test_a_pixel_is_white_with_probability_of_its_grey_level():
    data = _binarised("static", grey_images(), draws=1, seed=0)
    assert data.spec == DataSpec((1, 2, 3), levels=2)
    white = torch.bincount(data.train_labels, weights=data.train.flatten(1).sum(dim=1).double())
    pixels, share = EACH * 6, torch.arange(256) / 255
    assert (white[0], white[255]) == (0, pixels)
    variance = pixels * share * (1 - share)
    deviations = (white - pixels * share)[1:255] / variance[1:255].sqrt()
    assert 180 < deviations.square().sum() < 340  # chi-square, 254 degrees: 254 +- 23
    assert deviations.abs().max() < 5


def test_drawn_once_there_is_one_draw_and_drawn_anew_there_are_several_of_every_image():
    grey = grey_images()
    once, anew = (_binarised("set", grey, draws=draws, seed=5) for draws in (1, 4))
    draws = anew.train.unflatten(0, (4, len(grey.train)))
    assert torch.equal(draws[0], once.train)
    assert len({draw.numpy().tobytes() for draw in draws}) == 4
    for labels in anew.train_labels.unflatten(0, (4, -1)):
        assert torch.equal(labels, grey.train_labels)
    assert (len(anew.validation), len(anew.test)) == (len(grey.validation), len(grey.test))
    means = draws.double().mean(dim=(0, 2, 3, 4)).view(EACH, 256).mean(dim=0)
    torch.testing.assert_close(means, torch.arange(256).double() / 255, atol=0.03, rtol=0)


def test_black_and_white_pixels_of_mnist_stay_what_they_are():
    grey = load_dataset("mnist", real_root())
    for name in ("binarised_static", "binarised_stochastic"):
        drawn = load_dataset(name, real_root())
        images = drawn.train[-50_000:]
        assert not images[grey.train == 0].any()
        assert images[grey.train == 255].all()
        assert images.float().mean().item() == pytest.approx(
            grey.train.float().mean().item() / 255, abs=1e-4
        )
        assert torch.equal(drawn.train_labels[-50_000:], grey.train_labels)
        assert torch.equal(drawn.test_labels, grey.test_labels)


def write_amat(folder: Path, sizes: tuple[int, ...] = (7, 4, 5)) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    images = [rng.integers(2, size=(n, 784)) for n in sizes]
    for rows, name in zip(images, LAROCHELLE_FILES.values(), strict=True):
        np.savetxt(folder / name, rows, fmt="%d")
    return images


def test_the_published_files_are_read_as_they_are(tmp_path):
    written = write_amat(tmp_path)
    data = load_dataset("binarised_larochelle", tmp_path)
    assert data.spec == DataSpec((1, 28, 28), levels=2)
    for rows, split in zip(written, (data.train, data.validation, data.test), strict=True):
        assert np.array_equal(split.flatten(1).numpy(), rows)


def test_missing_published_files_are_reported_in_one_line_with_the_place(tmp_path):
    with pytest.raises(UserError) as caught:
        load_dataset("binarised_larochelle", tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "binarized_mnist_train.amat") in message
    assert "--data-root" in message
    assert "\n" not in message


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("1", "2")])
def test_a_damaged_published_file_is_named(tmp_path, damage):
    write_amat(tmp_path)
    file = tmp_path / LAROCHELLE_FILES["valid"]
    file.write_text(damage(file.read_text()))
    with pytest.raises(UserError, match=r"binarized_mnist_valid\.amat is damaged"):
        load_dataset("binarised_larochelle", tmp_path)


def test_digits_without_sevens_differ_from_digits_in_their_sevens_alone():
    whole, part = load_dataset("digits"), load_dataset("digits_without_7")
    for split in ("train", "validation"):
        labels, images = getattr(whole, f"{split}_labels"), getattr(whole, split)
        assert torch.equal(getattr(part, split), images[labels != 7])
        assert torch.equal(getattr(part, f"{split}_labels"), labels[labels != 7])
    assert torch.equal(part.test, whole.test)
    assert torch.equal(part.test_labels, whole.test_labels)
    assert (part.test_labels == 7).sum() > 30
