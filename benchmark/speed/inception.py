"""Inception with random weights, for timing it where its own cannot be had."""

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.randomness import derive_seed, fork_rng


def write_random_weights(path: Path) -> None:
    """Leaves weights in torch-fidelity's format that keep features alive through all layers."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Random(FeatureExtractorInceptionV3):
        def load_state_dict(self, state: Mapping[str, Any], *_: Any) -> None:
            """Draws where the published weights would be read."""
            for name, value in self.state_dict().items():
                if value.ndim == 4:
                    nn.init.kaiming_normal_(value, nonlinearity="relu")
                if name.endswith(("running_mean", "bn.bias")):
                    nn.init.normal_(value, std=0.1)
                if name.endswith("running_var"):
                    nn.init.uniform_(value, 0.8, 1.2)

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with fork_rng(derive_seed("Inception to time")), redirect_stdout(sys.stderr):
        network = Random("random", ["2048"], feature_extractor_weights_path=nothing)
    torch.save(network.state_dict(), path)
