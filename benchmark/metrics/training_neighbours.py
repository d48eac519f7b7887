"""How near held-out and generated examples lie to the training data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, NotApplicable
from benchmark.metrics.inputs import check_vectors

MOST_DIMS_FOR_TREE = 15  # above, a search through all examples is faster than a k-d tree
QUERIES_AT_ONCE = 2_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Nearest:
    """The k nearest training examples of n examples, the nearest first.

    Args:
        distances: [n, k] Euclidean, float64.
        rows: [n, k] of the training set.
    """

    distances: Tensor
    rows: Tensor


@dataclass(frozen=True)
class TrainingNeighbours:
    """The two nearest training examples of every held-out and of every generated example.

    Args:
        train: [t, d] vectors, float32 or float64.
        held_out: of real examples that no model was trained on.
        generated: of samples.
    """

    train: Tensor
    held_out: Nearest
    generated: Nearest


def in_features(evidence: Evidence) -> TrainingNeighbours:
    """Neighbours in the space where sets compare: features of images, points as they are.

    Raises:
        NotApplicable: no training data, or images without a feature network.
    """
    if not evidence.spec.is_image:
        return in_pixels(evidence)

    def features(images: Tensor) -> Tensor:
        if torch.equal(images, evidence.real):  # they are had already
            return evidence.real_features.features
        if isinstance(evidence.network, str):
            raise NotApplicable(evidence.network)
        assert evidence.spec.levels is not None
        return evidence.network(images, evidence.spec.levels).features

    return _neighbours(evidence, "features", features, evidence.generated_features.features)


def in_pixels(evidence: Evidence) -> TrainingNeighbours:
    """Neighbours by grey levels of images, or by coordinates of points.

    Raises:
        NotApplicable: no training data.
    """

    def flat(examples: Tensor) -> Tensor:
        return examples.flatten(1).float()

    return _neighbours(evidence, "pixels", flat, flat(evidence.generated))


def nearest(
    queries: Tensor,
    train: Tensor,
    *,
    count: int,
    progress: Progress = lambda stage, step, total: None,
) -> Nearest:
    """The nearest training examples of every query, by Euclidean distance.

    Distances are computed from differences of coordinates, so that a copy is at exactly zero.

    Args:
        queries: [n, d] vectors.
        train: [t, d] vectors, t >= count.
        count: how many of them (k).
        progress: told of the queries done.
    """
    from sklearn.neighbors import NearestNeighbors

    check_vectors(at_least=count, train=train)
    check_vectors(at_least=1, queries=queries, train=train)
    method = "kd_tree" if train.shape[1] <= MOST_DIMS_FOR_TREE else "brute"
    search = NearestNeighbors(n_neighbors=count, algorithm=method).fit(train.numpy())
    distances, rows = [], []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        progress("nearest training examples", start, len(queries))
        part = queries[start : start + QUERIES_AT_ONCE]
        found = torch.from_numpy(search.kneighbors(part.numpy(), return_distance=False))
        exact, order = _distances(part, train, found).sort(dim=1)
        distances.append(exact)
        rows.append(found.gather(1, order))
    return Nearest(torch.cat(distances), torch.cat(rows))


def _distances(queries: Tensor, train: Tensor, rows: Tensor) -> Tensor:
    columns = [(queries.double() - train[column].double()).norm(dim=1) for column in rows.T]
    return torch.stack(columns, dim=1)


def _neighbours(
    evidence: Evidence, space: str, vectors: Callable[[Tensor], Tensor], generated: Tensor
) -> TrainingNeighbours:
    """Computed once per cell and space."""
    key = f"training neighbours in {space}"
    if key not in evidence.shared:
        if evidence.train is None:
            raise NotApplicable("memorisation shows beside the training data, and none are given")
        train = vectors(evidence.train).cpu()
        evidence.shared[key] = TrainingNeighbours(
            train,
            *(
                nearest(queries.cpu(), train, count=2, progress=evidence.progress)
                for queries in (vectors(_held_out(evidence)), generated)
            ),
        )
    found: TrainingNeighbours = evidence.shared[key]
    return found


def _held_out(evidence: Evidence) -> Tensor:
    """The test examples; for samples without a model, which have no such set, the reference."""
    return evidence.test if len(evidence.test) else evidence.real
