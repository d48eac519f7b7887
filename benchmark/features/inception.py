"""Inception-v3 features of RGB images: torch-fidelity's network, its weights or the user's."""

import functools
import hashlib
import http.client
import io
import sys
import urllib.error
import urllib.request
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.errors import UserError
from benchmark.features.inference import features_in_batches
from benchmark.metrics.base import Features
from benchmark.store import write_atomically

NAME = "inception-v3-compat"
PUBLISHED_FILE = "weights-inception-2015-12-05-6726825d.pth"
PUBLISHED_URL = (
    f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{PUBLISHED_FILE}"
)
PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BATCH_SIZES = {"cpu": 8, "cuda": 50}  # a processor's caches hold the first layers of eight images
SIDE = 299  # pixels that the network looks at
SECONDS_WITHOUT_ANSWER = 10.0


@dataclass(frozen=True)
class WeightsFile:
    """A file that may hold Inception weights, and the SHA-256 of its content."""

    path: Path
    sha256: str

    @property
    def network_name(self) -> str:
        """Name of the network with these weights: other weights, another name."""
        return NAME if self.sha256 == PUBLISHED_SHA256 else f"{NAME}-{self.sha256[:8]}"


def find_weights(given: Path | None, *, download: bool) -> WeightsFile | str:
    """The weights that are to be used.

    Args:
        given: the user's own file; without one, the published file in torch's cache is taken.
        download: whether to fetch the published file when it is not there.

    Returns:
        the file, or in a few words why there is none.

    Raises:
        UserError: `given` cannot be read.
    """
    if given is not None:
        try:
            return WeightsFile(given, _sha256(given))
        except OSError as error:
            raise UserError(
                f"cannot read the Inception weights {given}: {error.strerror}"
            ) from error
    path = published_path()
    reason = _download(path) if download and not path.exists() else None
    if reason is not None:
        return f"the Inception weights could not be downloaded ({reason})"
    if not path.exists():
        return "the Inception weights are not on this machine"
    file = WeightsFile(path, _sha256(path))
    if file.sha256 != PUBLISHED_SHA256:
        return f"the Inception weights {path} are damaged (wrong SHA-256; delete that file)"
    return file


def published_path() -> Path:
    """Where torch-fidelity, too, keeps the file that it downloads."""
    return Path(torch.hub.get_dir()) / "checkpoints" / PUBLISHED_FILE


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _download(path: Path) -> str | None:
    """Fetches the published file, once per process; says in a few words why it could not.

    torch's own download waits for an answer without a limit.
    """
    try:
        with urllib.request.urlopen(PUBLISHED_URL, timeout=SECONDS_WITHOUT_ANSWER) as answer:
            print("downloading the Inception weights (96 MB)", file=sys.stderr)
            content = answer.read()
        if hashlib.sha256(content).hexdigest() != PUBLISHED_SHA256:
            return "what came has a wrong SHA-256"
        write_atomically(path, content)
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return None


class InceptionNetwork:
    """Features '2048' and 'logits_unbiased' of the network that FID is defined with.

    Args:
        file: weights in torch-fidelity's format.
        device: to compute on.

    Raises:
        UserError: the file holds anything but such weights.

    Source: Heusel et al. 2017, arXiv:1706.08500; ported by torch-fidelity.
    """

    def __init__(self, file: WeightsFile, device: torch.device | str = "cpu") -> None:
        self.name = file.network_name
        self.device = torch.device(device)
        self.network = _Folded(_load_extractor(file)).to(self.device)

    def __call__(self, images: Tensor, levels: int) -> Features:
        """Features [n, 2048] and logits [n, 1008] of RGB images [n, 3, H, W] with 256 levels."""
        if levels != 256 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"{self.name} takes images [n, 3, H, W] with 256 levels, "
                f"got {list(images.shape)} with {levels}"
            )
        batch_size = BATCH_SIZES.get(self.device.type, 50)
        return features_in_batches(self.network, images, device=self.device, batch_size=batch_size)


class _Folded(nn.Module):
    """torch-fidelity's network, computed in fewer steps; changes the extractor it is given.

    Each batch normalisation becomes part of its convolution, images are stored with their channels
    side by side, and the enlargement is two matrix products. Features stay the same but for
    rounding, below 1e-6 of the largest.
    """

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        blocks: list[Any] = [block for block in extractor.modules() if hasattr(block, "bn")]
        for block in blocks:
            block.conv = fuse_conv_bn_eval(block.conv.double(), block.bn.double()).float()
            block.bn = nn.Identity()
        *layers, last = extractor.children()
        self.layers = nn.Sequential(*layers, nn.Flatten()).to(memory_format=torch.channels_last)
        self.last = last

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, 2048] and logits [n, 1008], without the bias, of images [n, 3, H, W]."""
        features = self.layers(_enlarged((images.float() - 128) / 128))
        return features, features @ self.last.weight.T


def _enlarged(images: Tensor) -> Tensor:
    """[n, 3, 299, 299] images interpolated as the network was trained, channels side by side."""
    rows, columns = (_interpolation(size).to(images.device) for size in images.shape[2:])
    return (rows @ (images @ columns.T)).contiguous(memory_format=torch.channels_last)


@functools.cache
def _interpolation(size: int) -> Tensor:
    """[299, size] weights of the pixels of a row: bilinear with its corners as in TensorFlow 1."""
    where = torch.arange(SIDE) * torch.tensor(size / SIDE)
    left = where.long()
    share = where - left
    lines = torch.arange(SIDE)
    weights = torch.zeros(SIDE, size)
    weights[lines, left] = 1 - share
    weights[lines, (left + 1).clamp(max=size - 1)] += share
    return weights


def _load_extractor(file: WeightsFile) -> nn.Module:
    """Builds torch-fidelity's network, which would run any code that its weights file holds.

    So the file is read here as tensors only, and torch-fidelity is given a copy written anew.
    """
    refusal = f"{file.path} holds no Inception weights in torch-fidelity's format"
    content, tensors_only = _read_checked(file), io.BytesIO()
    try:
        with warnings.catch_warnings(action="ignore"):  # about the file's pickle protocol
            state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # a file that is no pickle can end in any of them
        raise UserError(f"{refusal}: it is damaged, or holds more than tensors") from error
    torch.save(state, tensors_only)
    tensors_only.seek(0)

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        # The constructor prints, and draws random weights before it loads those of the file.
        with redirect_stdout(sys.stderr), torch.random.fork_rng(devices=[]):
            return FeatureExtractorInceptionV3(
                NAME,
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=tensors_only,
            )
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{refusal}: tensors are missing or have other shapes") from error


def _read_checked(file: WeightsFile) -> bytes:
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file.path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise UserError(f"{file.path} has changed since the program started: start it again")
    return content
