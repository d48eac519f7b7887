"""What sample metrics are timed on: the same task, done by us and by another library."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.features.inception import InceptionNetwork, find_weights
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.kid import kernel_distance
from benchmark.metrics.precision_recall import precision_recall
from benchmark.metrics.sinkhorn import REGULARISATION, mean_cost, sinkhorn_divergence
from benchmark.metrics.sliced import random_directions, sliced_wasserstein
from benchmark.randomness import generator
from benchmark.speed.inception import write_random_weights
from benchmark.speed.inputs import feature_sets, isotropic_sets, scaled_copies

EXAMPLES, FEW_EXAMPLES, WIDTH, NARROW, PLANE = 10_000, 1_000, 2_048, 64, 2
DIRECTIONS, NEIGHBOURS, SUBSETS, SUBSET_SIZE = 1_000, 5, 100, 1_000
IMAGES, SIDE = 64, 32
THRESHOLDS = tuple(10 ** (-power / 2) for power in range(6, 22))  # of POT's Sinkhorn iteration
STRICTEST = 1e-13
MOST_ITERATIONS = 100_000


@dataclass(frozen=True)
class Contest:
    """The same task done by us and by another library.

    Args:
        library: the other one.
        size: of the inputs, as shown.
        ours, theirs: the two commands; both give their answer.
        agreement: in a few words how far the answers (ours, theirs) lie apart.
    """

    library: str
    size: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    agreement: Callable[[Any, Any], str]


def _frechet(folder: Path) -> Contest:
    return _frechet_between(*feature_sets(EXAMPLES, WIDTH))


def _frechet_isotropic(folder: Path) -> Contest:
    """Where all directions matter alike."""
    return _frechet_between(*isotropic_sets(EXAMPLES, WIDTH))


def _frechet_between(real: Tensor, generated: Tensor) -> Contest:
    real, generated = real.double(), generated.double()
    return Contest(
        "torch-fidelity",
        _shown(real),
        lambda: frechet_distance(real=real, generated=generated),
        lambda: _their_frechet(real, generated),
        _relative,
    )


def _frechet_few_samples(folder: Path) -> Contest:
    real, generated, exact = scaled_copies(FEW_EXAMPLES, WIDTH)
    return Contest(
        "torch-fidelity",
        _shown(real),
        lambda: frechet_distance(real=real, generated=generated),
        lambda: _their_frechet(real, generated),
        lambda ours, theirs: f"{_relative(ours, exact)}/{_relative(theirs, exact)}",
    )


def _their_frechet(real: Tensor, generated: Tensor) -> float:
    from torch_fidelity.metric_fid import (
        KEY_METRIC_FID,
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )

    statistics = [fid_features_to_statistics(vectors) for vectors in (real, generated)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def _prdc(folder: Path) -> Contest:
    from prdc import compute_prdc

    real, generated = feature_sets(EXAMPLES, WIDTH)

    def theirs() -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            return dict(compute_prdc(real.numpy(), generated.numpy(), nearest_k=NEIGHBOURS))

    def agreement(ours: dict[str, float], theirs: dict[str, float]) -> str:
        furthest = max(abs(ours[name] - theirs[name]) for name in theirs)
        return "equal" if furthest < 1e-12 else f"{furthest:.0e}"

    return Contest(
        "prdc",
        _shown(real),
        lambda: vars(precision_recall(real=real, generated=generated, neighbours=NEIGHBOURS)),
        theirs,
        agreement,
    )


def _sliced(width: int) -> Contest:
    import ot

    real, generated = feature_sets(EXAMPLES, width)
    directions = random_directions(DIRECTIONS, width, generator("directions to time"))
    # In float32 POT's value is off by 4e-5, so that it is given doubles to be as accurate as ours.
    x, y, projections = (each.double().numpy() for each in (real, generated, directions.T))

    def theirs() -> float:
        return float(ot.sliced_wasserstein_distance(x, y, projections=projections))

    return Contest(
        "POT",
        _shown(real),
        lambda: sliced_wasserstein(real=real, generated=generated, directions=directions),
        theirs,
        _relative,
    )


def _kid(folder: Path) -> Contest:
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    real, generated = (vectors.double() for vectors in feature_sets(EXAMPLES, WIDTH))

    def theirs() -> float:
        settings = {"kid_subsets": SUBSETS, "kid_subset_size": SUBSET_SIZE}
        found = kid_features_to_metric(generated, real, rng_seed=1, verbose=False, **settings)
        return float(found[KEY_METRIC_KID_MEAN])

    return Contest(
        "torch-fidelity",
        _shown(real),
        lambda: kernel_distance(real=real, generated=generated, seed=1, subsets=SUBSETS).value,
        theirs,
        _relative,
    )


def _sinkhorn(folder: Path) -> Contest:
    """POT takes the loosest threshold at which it is as near to its limit as we are."""
    real, generated = (vectors.double() for vectors in feature_sets(FEW_EXAMPLES, PLANE))
    epsilon = REGULARISATION * mean_cost(real)

    def ours() -> float:
        return sinkhorn_divergence(real=real, generated=generated, epsilon=epsilon)

    def theirs(threshold: float) -> float:
        return _their_sinkhorn(real.numpy(), generated.numpy(), epsilon, threshold)

    limit = theirs(STRICTEST)
    error = abs(ours() - limit)
    near = (each for each in THRESHOLDS if abs(theirs(each) - limit) <= error)
    threshold = next(near, THRESHOLDS[-1])
    return Contest(
        "POT",
        _shown(real),
        ours,
        lambda: theirs(threshold),
        lambda ours, theirs: f"{_relative(ours, limit)}/{_relative(theirs, limit)}",
    )


def _their_sinkhorn(real: np.ndarray, generated: np.ndarray, epsilon: float, stop: float) -> float:
    """The divergence as we define it, from POT's potentials.

    The logarithms of n that these lack cancel between the three terms.
    """
    import ot

    def transport(x: np.ndarray, y: np.ndarray) -> float:
        weights = [np.full(len(vectors), 1 / len(vectors)) for vectors in (x, y)]
        costs = ot.dist(x, y)
        settings = {"stopThr": stop, "numItermax": MOST_ITERATIONS, "log": True}
        _, log = ot.sinkhorn(*weights, costs, epsilon, **settings)
        means = (np.log(scaling).mean() for scaling in (log["u"], log["v"]))
        return float(epsilon * sum(means))

    within = transport(real, real) + transport(generated, generated)
    return transport(real, generated) - within / 2


def _features(folder: Path) -> Contest:
    from torch.utils.data import Dataset
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.utils import get_featuresdict_from_dataset

    class Images(Dataset[Tensor]):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, number: int) -> Tensor:
            return images[number]

    size = (IMAGES, 3, SIDE, SIDE)
    drawn = generator("images to time")
    images = torch.randint(0, 256, size, generator=drawn).to(torch.uint8)
    path = folder / "random.pth"
    write_random_weights(path)
    weights = find_weights(path, download=False)
    assert not isinstance(weights, str)
    network = InceptionNetwork(weights)
    oracle = FeatureExtractorInceptionV3(
        "oracle", ["2048", "logits_unbiased"], feature_extractor_weights_path=path
    )

    def theirs() -> Tensor:
        # Without worker processes, whose start would cost it more than they gain here.
        settings = {"batch_size": 64, "cuda": False, "save_cpu_ram": True, "verbose": False}
        return get_featuresdict_from_dataset(Images(), oracle, **settings)["2048"]

    def agreement(ours: Tensor, theirs: Tensor) -> str:
        return f"{((ours - theirs).abs().max() / theirs.abs().max()).item():.0e}"

    return Contest(
        "torch-fidelity",
        f"{IMAGES} images",
        lambda: network(images, 256).features,
        theirs,
        agreement,
    )


def _shown(vectors: Tensor) -> str:
    return f"{len(vectors):,}x{vectors.shape[1]:,}"


def _relative(found: float, expected: float) -> str:
    return f"{abs(found - expected) / abs(expected):.0e}"


CONTESTS: dict[str, Callable[[Path], Contest]] = {
    "frechet": _frechet,
    "frechet_isotropic": _frechet_isotropic,
    "frechet_few_samples": _frechet_few_samples,
    "prdc": _prdc,
    "sliced_64": lambda folder: _sliced(NARROW),
    "sliced_2048": lambda folder: _sliced(WIDTH),
    "kid": _kid,
    "sinkhorn": _sinkhorn,
    "features": _features,
}

OPTIONAL = {"prdc": "prdc"}  # contests against libraries that the program itself does without
