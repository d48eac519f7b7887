"""Images and samples from the user's own files: a folder of PNG files, or an `.npz`.

In an `.npz`, images may lie as [n, H, W, C], [n, C, H, W] or, when grey, [n, H, W], with C of 1 or
3. Where the sizes fit both of the first two, the first is meant.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.errors import UserError
from benchmark.spec import DataSpec

FEWEST_IMAGES = 100
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
CHANNELS = {"grey": 1, "RGB": 3}


def load_user_images(path: Path) -> DataSet:
    """The user's own images with 256 levels, split 80 : 10 : 10 by a fixed permutation.

    Args:
        path: a folder, searched with all folders in it for PNG files of one size, grey or RGB
            with 8 bits; or an `.npz` with an array `images` of uint8.

    Raises:
        UserError: a file is missing, damaged, or of another kind; or there are too few images.
    """
    images = _png_folder(path) if path.is_dir() else _images_of_npz(path)
    if len(images) < FEWEST_IMAGES:
        raise UserError(f"{path} holds {len(images)} images; at least {FEWEST_IMAGES} are needed")
    if (images == images[0]).all():
        raise UserError(
            f"{path}: all {len(images)} images are the same: there is nothing to learn"
        )
    order = np.random.Generator(np.random.PCG64(seed=1010)).permutation(len(images))
    shuffled = torch.from_numpy(images[order])
    tenth = len(images) // 10
    sizes = [len(images) - 2 * tenth, tenth, tenth]
    train, validation, test = shuffled.split(sizes)
    name = path.resolve().name if path.is_dir() else path.stem
    return DataSet(name, DataSpec(tuple(images.shape[1:]), levels=256), train, validation, test)


def read_images(path: Path, spec: DataSpec) -> Tensor:
    """Samples to be scored, checked against the space that they must lie in.

    Args:
        path: a folder of PNG files, whose values are the levels as they are; or an `.npz` with an
            array `images` (`points` where the space is one of points), or `samples`.
        spec: of the data set that the samples imitate.

    Returns:
        [n, *spec.shape]: uint8 for images, float32 for points.

    Raises:
        UserError: there is no such file, or it does not hold samples of that space.
    """
    if path.is_dir() and not spec.is_image:
        raise UserError(f"{path} is a folder: points are read from an .npz file")
    if path.is_dir():
        return torch.from_numpy(_in_range(_laid_out(_png_folder(path), spec, path), spec, path))
    array = _npz_array(path, ("images" if spec.is_image else "points", "samples"))
    if array.dtype.kind not in "uif":
        raise UserError(f"{path} holds values of type {array.dtype}; they must be numbers")
    if spec.is_image:
        return torch.from_numpy(_in_range(_laid_out(array, spec, path), spec, path))
    return _points(array, spec, path)


def _points(array: np.ndarray, spec: DataSpec, path: Path) -> Tensor:
    if array.shape[1:] != spec.shape:
        raise UserError(f"{path} holds shape {_sizes(array)}; points need [n, {spec.shape[0]}]")
    _check_some(array, path)
    points = torch.from_numpy(array.astype(np.float64)).float()
    bad = int((~points.isfinite()).sum())
    if bad:
        raise UserError(f"{path}: {bad} of the numbers are NaN or infinite")
    return points


def _laid_out(array: np.ndarray, spec: DataSpec, path: Path) -> np.ndarray:
    """The array as [n, C, H, W], if it can be one."""
    channels, height, width = spec.shape
    if array.shape[1:] == (height, width, channels):
        return array.transpose(0, 3, 1, 2)
    if array.shape[1:] == spec.shape:
        return array
    if channels == 1 and array.shape[1:] == (height, width):
        return array[:, None]
    _check_colour(array, spec, path)
    raise UserError(
        f"{path} holds shape {_sizes(array)}; this data set needs "
        f"[n, {height}, {width}, {channels}] or [n, {channels}, {height}, {width}]"
    )


def _check_colour(array: np.ndarray, spec: DataSpec, path: Path) -> None:
    """Names the one thing that is wrong with images of the right size and the wrong colour."""
    channels, height, width = spec.shape
    grey = ((height, width), (height, width, 1), (1, height, width))
    if channels == 3 and array.shape[1:] in grey:
        raise UserError(
            f"{path} holds grey images; this data set and its feature network are RGB: save them "
            "as RGB, each with three equal channels"
        )
    if channels == 1 and array.shape[1:] in ((height, width, 3), (3, height, width)):
        raise UserError(f"{path} holds RGB images; this data set is grey: save them as grey")


def _in_range(images: np.ndarray, spec: DataSpec, path: Path) -> np.ndarray:
    """The images as uint8, if they hold whole numbers below the number of levels."""
    assert spec.levels is not None
    _check_some(images, path)
    expected = f"images of this data set hold whole numbers in 0..{spec.levels - 1}"
    if images.dtype.kind == "f":
        bad = int((~np.isfinite(images)).sum())
        if bad:
            raise UserError(f"{path}: {bad} of the values are NaN or infinite; {expected}")
        fractions = images[images != np.floor(images)]
        if fractions.size:
            raise UserError(f"{path}: found {fractions[0]:g}; {expected}")
    low, high = images.min(), images.max()
    if low < 0 or high >= spec.levels:
        raise UserError(f"{path}: values lie in {low:g}..{high:g}; {expected}")
    return np.ascontiguousarray(images.astype(np.uint8))


def _check_some(array: np.ndarray, path: Path) -> None:
    if not len(array):
        raise UserError(f"{path} is empty: its array has shape {_sizes(array)}")


def _images_of_npz(path: Path) -> np.ndarray:
    """The array `images` as uint8 [n, C, H, W]."""
    array = _npz_array(path, ("images",))
    if array.dtype != np.uint8:
        raise UserError(f"{path}: 'images' must be uint8 with 256 levels, not {array.dtype}")
    is_empty = 0 in array.shape[1:]
    if array.ndim == 3 and not is_empty:
        return array[:, None]
    if array.ndim == 4 and not is_empty and array.shape[3] in CHANNELS.values():
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if array.ndim == 4 and not is_empty and array.shape[1] in CHANNELS.values():
        return array
    raise UserError(
        f"{path}: 'images' must be [n, H, W, C], [n, C, H, W] or [n, H, W] with C of 1 or 3, "
        f"not {_sizes(array)}"
    )


def _npz_array(path: Path, names: tuple[str, ...]) -> np.ndarray:
    """The first array of the file that has one of the names."""
    if not path.exists():
        raise UserError(f"{path} does not exist: give a folder of PNG files or an .npz file")
    try:
        # A file that numpy opens itself stays open where numpy fails.
        with path.open("rb") as file, _opened_npz(file, path) as arrays:
            held = {name: arrays[name] for name in arrays.files if name in names}
            others = ", ".join(repr(name) for name in arrays.files) or "nothing"
    except UserError:
        raise
    except Exception as error:  # damage in an archive can end in any of them
        raise UserError(f"{path} is not an .npz file of plain arrays, or is damaged") from error
    if not held:
        wanted = " or ".join(repr(name) for name in names)
        raise UserError(f"{path} has no array named {wanted}; it holds {others}")
    return next(held[name] for name in names if name in held)


def _opened_npz(file: BinaryIO, path: Path) -> NpzFile:
    opened = np.load(file, allow_pickle=False)
    if not isinstance(opened, NpzFile):
        raise UserError(f"{path} is a bare array, not an .npz file: save it with numpy.savez")
    return opened


def _png_folder(folder: Path) -> np.ndarray:
    """Every PNG file of a folder, in the order of their paths: uint8 [n, C, H, W]."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == ".png" and not path.name.startswith(".")
    )
    if not files:
        raise UserError(f"no PNG files in the folder {folder}")
    images = [_read_png(files[0])]
    for file in files[1:]:
        image = _read_png(file)
        if image.shape != images[0].shape:
            raise UserError(
                f"{file} is {_described(image)}, but {files[0].name} is {_described(images[0])}: "
                "all images must have one size and colour"
            )
        images.append(image)
    return np.stack(images)


def _read_png(file: Path) -> np.ndarray:
    """One PNG file of 8 bits, grey or RGB: uint8 [C, H, W]."""
    from PIL import Image

    try:
        _check_png_header(file)
        with Image.open(file, formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be read as a PNG file") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _check_png_header(file: Path) -> None:
    """Refuses what Pillow would silently turn into 8 bits."""
    with file.open("rb") as opened:
        header = opened.read(26)
    if len(header) < 26 or header[:8] != PNG_SIGNATURE:
        raise ValueError("no PNG header")
    bits, kind = header[24], PNG_KINDS.get(header[25], "of an unknown kind")
    if bits != 8 or kind not in CHANNELS:
        raise UserError(f"{file} is {kind} with {bits} bits: save it as grey or RGB with 8 bits")


def _described(image: np.ndarray) -> str:
    channels, height, width = image.shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"


def _sizes(array: np.ndarray) -> str:
    return str(list(array.shape))
