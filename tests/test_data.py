import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data import DATASETS, load_dataset
from benchmark.data.base import DataSet
from benchmark.data.dequantised import _dequantised
from benchmark.data.files import load_user_images, read_images
from benchmark.errors import UserError
from benchmark.spec import DataSpec

HASHES = {
    "ring": "95352288f80a0578",
    "grid": "89a820d8ca3e715a",
    "ring_rare": "297e4a240856f821",
    "lines": "e6fe2977bbdf0fc6",
    "manifold": "3fd00c2eb59efd0e",
    "high": "f76f9050991c5ce2",
    "digits": "9be76f645ff957a3",
    "digits_without_7": "25b17a47f2c065c2",
    "mnist": "ff9b19403812b18b",
    "fashion_mnist": "e752d38aaa8d9679",
    "cifar10": "ac061d4bb156bf79",
    "mnist_dequantised": "a6d6e104f5b4cef6",
    "binarised_static": "e56dc12909d51de0",
    "binarised_stochastic": "fbbc4581eb5b75dd",
    "stacked_mnist": "3caa93c1e719d429",
}
REAL = (
    *("mnist", "fashion_mnist", "cifar10", "mnist_dequantised", "stacked_mnist"),
    *("binarised_static", "binarised_stochastic"),
)
UNFETCHED = "binarised_larochelle"  # whose files the user has to bring
SIZES = {
    "ring": (50_000, 10_000, 10_000),
    "grid": (50_000, 10_000, 10_000),
    "ring_rare": (50_000, 10_000, 10_000),
    "lines": (50_000, 10_000, 10_000),
    "manifold": (50_000, 10_000, 10_000),
    "high": (10_000, 2_500, 2_500),
    "digits": (997, 400, 400),
    "digits_without_7": (910, 352, 400),
    "mnist": (50_000, 10_000, 10_000),
    "fashion_mnist": (50_000, 10_000, 10_000),
    "cifar10": (40_000, 10_000, 10_000),
    "mnist_dequantised": (50_000, 10_000, 10_000),
    "binarised_static": (50_000, 10_000, 10_000),
    "binarised_stochastic": (500_000, 10_000, 10_000),
    "stacked_mnist": (128_000, 26_000, 26_000),
}
DIGITS = DataSpec((1, 8, 8), levels=17)
PLANE = DataSpec((2,))


def real_root() -> Path:
    root = os.environ.get("BENCHMARK_DATA")
    if not root:
        pytest.skip("BENCHMARK_DATA does not say where torchvision's sets are")
    return Path(root)


def load(name: str) -> DataSet:
    return load_dataset(name, real_root() if name in REAL else None)


def test_every_listed_set_has_a_recorded_hash():
    assert [source.name for source in DATASETS if source.name != UNFETCHED] == list(HASHES)


@pytest.mark.parametrize("name", HASHES)
def test_splits_have_their_sizes_and_their_recorded_content(name):
    data = load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == SIZES[name]
    assert data.hash == HASHES[name]


@pytest.mark.parametrize("name", ["ring", "grid", "ring_rare", "lines", "manifold", "high"])
def test_no_point_is_in_two_splits(name):
    data = load(name)
    everything = torch.cat([data.train, data.validation, data.test])
    assert len(everything.unique(dim=0)) >= len(everything) - 1  # float32 may round two together


def test_the_splits_of_digits_are_the_whole_file_and_no_image_twice():
    from sklearn.datasets import load_digits

    data = load("digits")
    everything = torch.cat([data.train, data.validation, data.test]).flatten(1).numpy()
    bundled = load_digits().data.astype(np.uint8)
    assert sorted(map(bytes, everything)) == sorted(map(bytes, bundled))
    assert data.test.max() == 16


def test_labels_belong_to_their_images():
    from sklearn.datasets import load_digits

    digits = load_digits(return_X_y=True)
    label_of = {bytes(x.astype(np.uint8)): y for x, y in zip(*digits, strict=True)}
    data = load("digits")
    for images, labels in ((data.train, data.train_labels), (data.test, data.test_labels)):
        assert labels.tolist() == [label_of[bytes(x)] for x in images.flatten(1).numpy()]


def test_the_hash_changes_with_one_value_and_with_the_levels():
    data = load("digits")
    changed = data.test.clone()
    changed[3, 0, 4, 5] ^= 1
    hashes = {
        data.hash,
        replace(data, test=changed).hash,
        replace(data, spec=DataSpec((1, 8, 8), levels=18)).hash,
        replace(data, train=data.validation, validation=data.train).hash,
    }
    assert len(hashes) == 4


def test_dequantised_levels_come_back_and_their_noise_is_uniform():
    images = torch.arange(256, dtype=torch.uint8).repeat(400).view(-1, 1, 4, 8)
    levels = _dequantised(images, np.random.Generator(np.random.PCG64(seed=1))) * 256
    assert torch.equal(levels.floor().to(torch.uint8), images)
    noise = (levels - images).flatten().double()
    assert 0 < noise.min() < 1e-4 < 1 - 1e-4 < noise.max() < 1
    counts = torch.histc(noise, 20, 0, 1)
    expected = len(noise) / 20
    assert ((counts - expected).square() / expected).sum() < 50  # chi-square, 19 degrees


def test_dequantised_mnist_is_mnist_with_its_labels_and_no_network():
    floats, integers = load("mnist_dequantised"), load("mnist")
    assert floats.spec == DataSpec((1, 28, 28))
    assert floats.network is None
    for split in ("train", "validation", "test"):
        levels = (getattr(floats, split) * 256).floor().to(torch.uint8)
        assert torch.equal(levels, getattr(integers, split))
    assert torch.equal(floats.train_labels, integers.train_labels)
    assert torch.equal(floats.test_labels, integers.test_labels)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="no data set named 'digit'; did you mean 'digits'"):
        load_dataset("digit")


def test_a_path_that_does_not_exist_is_said_to():
    with pytest.raises(UserError, match=r"no data at nowhere/images\.npz"):
        load_dataset("nowhere/images.npz")


# torchvision's sets


def write_idx(folder: Path, prefix: str, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(count).integers(0, 256, (count, 2, 3), dtype=np.uint8)
    images = struct.pack(">4i", 0x803, count, 2, 3) + pixels.tobytes()
    labels = struct.pack(">2i", 0x801, count) + (pixels[:, 0, 0] % 10).tobytes()
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(images)
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_idx_files_become_three_disjoint_splits_with_their_labels(tmp_path, name, folder):
    write_idx(tmp_path / folder / "raw", "train", 10_020)
    write_idx(tmp_path / folder / "raw", "t10k", 30)
    data = load_dataset(name, tmp_path)
    assert data.spec == DataSpec((1, 2, 3), levels=256)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 10_000, 30)
    assert torch.equal(data.train[:, 0, 0, 0].long() % 10, data.train_labels)
    assert torch.equal(data.validation[:, 0, 0, 0].long() % 10, data.validation_labels)
    assert torch.equal(data.test[:, 0, 0, 0].long() % 10, data.test_labels)
    rows = torch.cat([data.train, data.validation]).flatten(1)
    assert len(rows.unique(dim=0)) == 10_020


def test_missing_files_are_reported_in_one_line_with_the_place_and_the_way_out(
    tmp_path, monkeypatch
):
    def no_network(self):
        raise RuntimeError("Error downloading train-images:\nTried https://example.invalid")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    with pytest.raises(UserError) as caught:
        load_dataset("mnist", tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "MNIST" / "raw") in message
    assert "--data-root" in message
    assert "\n" not in message


def test_a_cut_off_file_is_reported_in_one_line(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, "train", 10_020)
    write_idx(raw, "t10k", 30)
    images = raw / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-7])
    with pytest.raises(UserError, match="damaged"):
        load_dataset("mnist", tmp_path)


# The user's own images


def write_pngs(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:04d}.png")
    return folder


def random_images(count: int, *shape: int, levels: int = 256) -> np.ndarray:
    return np.random.default_rng(8).integers(0, levels, (count, *shape), dtype=np.uint8)


def save_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("laid_out", "shape"),
    [
        (random_images(103, 5, 4, 3), (3, 5, 4)),
        (random_images(103, 5, 4, 3).transpose(0, 3, 1, 2), (3, 5, 4)),
        (random_images(103, 5, 4), (1, 5, 4)),
        (random_images(103, 5, 4, 1), (1, 5, 4)),
        (random_images(103, 3, 5, 3), (3, 3, 5)),
    ],
    ids=["NHWC", "NCHW", "NHW", "grey NHWC", "both fit"],
)
def test_an_npz_is_read_in_each_layout(tmp_path, laid_out, shape):
    data = load_dataset(str(save_npz(tmp_path / "mine.npz", images=laid_out)))
    assert (data.name, data.spec) == ("mine", DataSpec(shape, levels=256))
    assert (len(data.train), len(data.validation), len(data.test)) == (83, 10, 10)
    everything = torch.cat([data.train, data.validation, data.test])
    assert len(everything.flatten(1).unique(dim=0)) == 103


def test_nhwc_and_nchw_of_the_same_images_are_the_same_data(tmp_path):
    images = random_images(100, 5, 4, 3)
    last = load_user_images(save_npz(tmp_path / "a.npz", images=images))
    first = load_user_images(save_npz(tmp_path / "b.npz", images=images.transpose(0, 3, 1, 2)))
    assert last.hash == first.hash


def test_a_folder_gives_the_same_data_as_an_npz(tmp_path):
    images = random_images(100, 5, 4, 3)
    folder = write_pngs(tmp_path / "mine", images[:60])
    write_pngs(folder / "more", images[60:])
    packed = load_user_images(save_npz(tmp_path / "mine.npz", images=images))
    assert load_user_images(folder).hash == packed.hash


def test_images_that_are_all_the_same_are_no_data_set(tmp_path):
    images = np.repeat(random_images(1, 4, 5), 120, axis=0)
    with pytest.raises(UserError, match="all 120 images are the same"):
        load_user_images(save_npz(tmp_path / "mine.npz", images=images))


def save_sixteen_bits(path: Path) -> None:
    Image.fromarray(np.full((4, 5), 1000, dtype=np.uint16)).save(path)


def save_palette(path: Path) -> None:
    Image.fromarray(random_images(1, 4, 5)[0]).convert("P").save(path)


def save_four_bits(path: Path) -> None:
    Image.fromarray(random_images(1, 4, 5, levels=4)[0]).convert("1").save(path)


@pytest.mark.parametrize(
    ("save", "complaint"),
    [
        (save_sixteen_bits, "odd.png is grey with 16 bits"),
        (save_palette, "odd.png is palette"),
        (save_four_bits, "odd.png is grey with 1 bits"),
        (lambda path: Image.new("RGBA", (5, 4)).save(path), "odd.png is RGB with alpha"),
        (
            lambda path: Image.new("RGB", (5, 4)).save(path),
            "odd.png is 5x4 RGB, but 0000.png is 5x4 grey",
        ),
        (
            lambda path: Image.new("L", (4, 5)).save(path),
            "odd.png is 4x5 grey, but 0000.png is 5x4 grey",
        ),
        (lambda path: path.write_bytes(b"not a picture"), "odd.png cannot be read"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "odd.png is"),
    ],
)
def test_a_file_unlike_the_others_is_named(tmp_path, save, complaint):
    folder = write_pngs(tmp_path / "mine", random_images(100, 4, 5))
    save(folder / "odd.png")
    with pytest.raises(UserError) as caught:
        load_user_images(folder)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_off_png_is_named(tmp_path):
    folder = write_pngs(tmp_path / "mine", random_images(100, 40, 50))
    broken = folder / "0042.png"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(UserError, match=r"0042\.png cannot be read"):
        load_user_images(folder)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"images": random_images(99, 4, 5)}, "99 images; at least 100"),
        ({"images": random_images(100, 4, 5).astype(np.float32)}, "must be uint8"),
        ({"images": random_images(100, 4, 5, 2)}, r"not \[100, 4, 5, 2\]"),
        ({"images": random_images(100, 0, 5)}, r"not \[100, 0, 5\]"),
        ({"pictures": random_images(100, 4, 5)}, "no array named 'images'; it holds 'pictures'"),
        ({"images": np.array([{"a": 1}])}, "plain arrays"),
    ],
)
def test_an_npz_that_is_no_data_set_is_refused(tmp_path, arrays, complaint):
    with pytest.raises(UserError, match=complaint):
        load_user_images(save_npz(tmp_path / "mine.npz", **arrays))


def test_a_users_set_may_not_go_by_the_name_of_one_of_ours(tmp_path):
    path = save_npz(tmp_path / "mnist.npz", images=random_images(100, 4, 5))
    with pytest.raises(UserError, match="rename"):
        load_dataset(str(path))


# Samples to be scored


def test_png_values_of_a_set_with_seventeen_levels_are_taken_as_they_are(tmp_path):
    images = random_images(12, 8, 8, levels=17)
    read = read_images(write_pngs(tmp_path / "samples", images), DIGITS)
    assert read.dtype == torch.uint8
    assert torch.equal(read, torch.from_numpy(images)[:, None])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("layout", [(12, 8, 8), (12, 1, 8, 8), (12, 8, 8, 1)])
def test_whole_numbers_of_any_type_and_layout_are_taken(tmp_path, dtype, layout):
    images = random_images(12, 8, 8, levels=17)
    path = save_npz(tmp_path / "samples.npz", images=images.astype(dtype).reshape(layout))
    assert torch.equal(read_images(path, DIGITS), torch.from_numpy(images)[:, None])


def test_colour_images_keep_their_channels(tmp_path):
    images, spec = random_images(3, 5, 4, 3), DataSpec((3, 5, 4), levels=256)
    expected = torch.from_numpy(images).permute(0, 3, 1, 2)
    assert torch.equal(read_images(save_npz(tmp_path / "a.npz", images=images), spec), expected)
    assert torch.equal(read_images(write_pngs(tmp_path / "folder", images), spec), expected)


@pytest.mark.parametrize("layout", [(3, 5, 4), (3, 5, 4, 1), (3, 1, 5, 4)])
def test_grey_images_for_a_set_of_rgb_say_what_to_do(tmp_path, layout):
    path = save_npz(tmp_path / "grey.npz", images=random_images(*layout))
    with pytest.raises(UserError, match=r"holds grey images; .* save them as RGB"):
        read_images(path, DataSpec((3, 5, 4), levels=256))
    folder = write_pngs(tmp_path / "folder", random_images(3, 5, 4))
    with pytest.raises(UserError, match=r"folder holds grey images"):
        read_images(folder, DataSpec((3, 5, 4), levels=256))


@pytest.mark.parametrize("layout", [(3, 8, 8, 3), (3, 3, 8, 8)])
def test_rgb_images_for_a_grey_set_say_what_to_do(tmp_path, layout):
    path = save_npz(tmp_path / "colours.npz", images=random_images(*layout, levels=17))
    with pytest.raises(UserError, match="holds RGB images; this data set is grey"):
        read_images(path, DIGITS)


@pytest.mark.parametrize("name", ["points", "samples"])
def test_points_are_read_as_float32(tmp_path, name):
    points = np.random.default_rng(9).normal(size=(7, 2))
    read = read_images(save_npz(tmp_path / "points.npz", **{name: points}), PLANE)
    assert torch.equal(read, torch.from_numpy(points).float())


NOT_A_NUMBER = np.full((12, 8, 8), np.nan)
FRACTIONS = random_images(12, 8, 8, levels=17) / 16 + 0.25


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"images": FRACTIONS}, "hold whole numbers in 0..16"),
        ({"images": np.full((12, 8, 8), 17.0)}, r"values lie in 17..17; .* 0..16"),
        ({"images": np.full((12, 8, 8), -1)}, r"values lie in -1..-1"),
        ({"images": NOT_A_NUMBER}, "768 of the values are NaN"),
        ({"images": np.full((12, 8, 8), np.inf)}, "NaN or infinite"),
        ({"images": np.zeros((12, 8, 9))}, r"shape \[12, 8, 9\]; .* \[n, 8, 8, 1\]"),
        ({"images": np.zeros((0, 8, 8))}, "is empty"),
        ({"images": np.zeros((12, 8, 8), dtype=bool)}, "type bool"),
        ({"images": np.float64(3)}, r"shape \[\]"),
        ({"pictures": np.zeros((12, 8, 8))}, "no array named 'images' or 'samples'"),
    ],
)
def test_samples_that_are_no_images_of_the_set_are_refused(tmp_path, arrays, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        read_images(save_npz(tmp_path / "samples.npz", **arrays), DIGITS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("points", "complaint"),
    [
        (np.zeros((5, 3)), r"shape \[5, 3\]; points need \[n, 2\]"),
        (np.array([[0.0, np.nan]]), "1 of the numbers are NaN"),
        (np.array([[0.0, 1e300]]), "1 of the numbers are NaN or infinite"),
        (np.zeros((0, 2)), "is empty"),
        (np.zeros((5, 2), dtype=complex), "type complex128"),
    ],
)
def test_samples_that_are_no_points_of_the_plane_are_refused(tmp_path, points, complaint):
    with pytest.raises(UserError, match=complaint):
        read_images(save_npz(tmp_path / "samples.npz", points=points), PLANE)


def bare_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((5, 2)))


def flipped_byte(path: Path) -> None:
    np.savez_compressed(path, samples=np.random.default_rng(1).normal(size=(500, 2)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b""), "not an .npz file"),
        (lambda path: path.write_text("a,b\n1,2\n"), "not an .npz file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and then nonsense"), "not an .npz file"),
        (bare_array, r"not an \.npz file: save it with numpy\.savez"),
        (flipped_byte, "damaged"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
)
def test_a_file_that_is_no_npz_is_refused_in_one_line(tmp_path, write, complaint):
    path = tmp_path / "samples.npz"
    write(path)
    with pytest.raises(UserError, match=complaint) as caught:
        read_images(path, PLANE)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no PNG files in the folder"):
        read_images(tmp_path, DIGITS)


def test_pngs_of_a_wrong_size_or_range_are_refused(tmp_path):
    wide = write_pngs(tmp_path / "wide", random_images(3, 8, 9))
    bright = write_pngs(tmp_path / "bright", random_images(3, 8, 8))
    with pytest.raises(UserError, match=r"shape \[3, 1, 8, 9\]"):
        read_images(wide, DIGITS)
    with pytest.raises(UserError, match=r"0\.\.16"):
        read_images(bright, DIGITS)
