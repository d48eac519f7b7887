"""Inception-v3 features for RGB images: torch-fidelity's network, with its or the user's weights."""

import functools
import hashlib
import io
import pickle
import urllib.error
import urllib.request
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
import sys

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.features.inference import features_in_batches
from benchmark.metrics.base import Features
from benchmark.store import write_atomically

NAME = "inception-v3-compat"
PUBLISHED_FILE = "weights-inception-2015-12-05-6726825d.pth"
PUBLISHED_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{PUBLISHED_FILE}"
PUBLISHED_HASH = "6726825d"  # first digits of the file's SHA-256, as its name says
BATCH_SIZE = 50
SECONDS_WITHOUT_ANSWER = 10.0


@dataclass(frozen=True)
class WeightsFile:
    """A file that may hold Inception weights, and the SHA-256 of its content."""

    path: Path
    sha256: str

    @property
    def network_name(self) -> str:
        """Name of the network with these weights: other weights, another name."""
        if self.sha256.startswith(PUBLISHED_HASH):
            return NAME
        return f"{NAME}-{self.sha256[:8]}"


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
        return _given_file(given)
    path = published_path()
    if not path.exists() and download:
        reason = _download(path)
        if reason is not None:
            return f"the Inception weights could not be downloaded ({reason})"
    if not path.exists():
        return "the Inception weights are not on this machine"
    file = WeightsFile(path, _sha256(path))
    if file.network_name != NAME:
        return f"the Inception weights in {path} are damaged (wrong SHA-256): delete that file"
    return file


def published_path() -> Path:
    """Where torch-fidelity, too, keeps the file that it downloads."""
    return Path(torch.hub.get_dir()) / "checkpoints" / PUBLISHED_FILE


def _given_file(path: Path) -> WeightsFile:
    try:
        return WeightsFile(path, _sha256(path))
    except OSError as error:
        raise UserError(f"cannot read the Inception weights {path}: {error.strerror}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _download(path: Path) -> str | None:
    """Fetches the published file; says in a few words why it could not, once per process."""
    try:
        with urllib.request.urlopen(PUBLISHED_URL, timeout=SECONDS_WITHOUT_ANSWER) as answer:
            content = answer.read()
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error) or type(error).__name__
    if not hashlib.sha256(content).hexdigest().startswith(PUBLISHED_HASH):
        return "what came has a wrong SHA-256"
    try:
        write_atomically(path, content)
    except OSError as error:
        return f"cannot write {path}: {error.strerror}"
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
        self.extractor = _load_extractor(file).to(self.device).eval().requires_grad_(False)

    def __call__(self, images: Tensor, levels: int) -> Features:
        """Features [n, 2048] and logits [n, 1008] of RGB images [n, 3, H, W] with 256 levels."""
        if levels != 256 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"{self.name} takes images [n, 3, H, W] with 256 levels, "
                f"got {list(images.shape)} with {levels}"
            )
        return features_in_batches(
            lambda batch: self.extractor(batch.to(torch.uint8)),
            images,
            device=self.device,
            batch_size=BATCH_SIZE,
        )


def _load_extractor(file: WeightsFile) -> nn.Module:
    """Builds torch-fidelity's network, which would run any code that its weights file holds.

    The bytes are read once: what torch-fidelity loads is what was found to hold tensors only.
    """
    content = file.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise UserError(f"the Inception weights {file.path} have just changed: start again")
    refusal = f"{file.path} holds no Inception weights in torch-fidelity's format"
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise UserError(f"{refusal}: it is damaged, or holds more than tensors") from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{refusal}: it cannot be read") from error
    del state

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        with redirect_stdout(sys.stderr):
            return FeatureExtractorInceptionV3(
                NAME,
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=io.BytesIO(content),
            )
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{refusal}: tensors are missing or have other shapes") from error
