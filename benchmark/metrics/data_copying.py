"""The data-copying test C_T: whether samples lie nearer to the training data than real ones do."""

import math

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.resampling import half_samples
from benchmark.metrics.training_neighbours import TrainingNeighbours, in_features
from benchmark.randomness import derive_seed, generator

FEWEST = 20  # samples, and held-out examples, of a cell that counts
HELD_OUT_PER_CELL = 50
MOST_CELLS = 20


def measure(evidence: Evidence) -> Measurement:
    """C_T in feature space, or of points, over cells of k-means on the training data."""
    found = in_features(evidence)
    held_out, generated = _located(found)
    counted = _cells_that_count(held_out, generated)
    if not len(counted):
        raise NotApplicable(
            f"no cell of the data holds {FEWEST} samples and {FEWEST} held-out examples"
        )

    def statistic(*, real: Tensor, generated: Tensor) -> float:
        return data_copying(held_out=real, generated=generated, counted=counted)

    halves = half_samples(
        # A z-score grows with the root of the number of examples, which a half has halved.
        lambda **half: math.sqrt(2) * statistic(**half),
        real=held_out,
        generated=generated,
        generator=generator("c_t", evidence.seed),
    )
    value = statistic(real=held_out, generated=generated)
    share = torch.isin(held_out[:, 0], counted).double().mean().item()
    details = {"cells": len(counted), "held_out_share": share}
    return Measurement.with_halves(value, halves, len(generated), details=details)


def data_copying(*, held_out: Tensor, generated: Tensor, counted: Tensor) -> float:
    """Mean over cells of the Mann-Whitney z-score of samples against held-out real examples.

    In every cell of the data, the distances of samples from their nearest training examples are
    ranked among those of held-out examples. Cells weigh as much as the held-out examples in them.

    Args:
        held_out: [m, 2], for each held-out example the number of its cell and its distance from
            the nearest training example.
        generated: [n, 2], the same for samples.
        counted: [k] numbers of the cells that count.

    Returns:
        Far below 0 where samples are copies (its authors take -3 as the mark), 0 in expectation
        for fresh draws of the true distribution, above 0 for samples far from all data.

    Source: Meehan et al. 2020, "A non-parametric test to detect data-copying in generative
    models", arXiv:2004.05675, section 3.
    """
    total, weights = 0.0, 0
    for cell in counted:
        real, samples = (x[x[:, 0] == cell, 1] for x in (held_out, generated))
        if len(real) and len(samples):
            total += len(real) * rank_score(real=real, generated=samples)
            weights += len(real)
    return total / weights if weights else 0.0


def rank_score(*, real: Tensor, generated: Tensor) -> float:
    """The Mann-Whitney statistic as a z-score: negative where `generated` [n] are the smaller.

    Equal numbers share their mean rank; the scale is that without ties, as in the source.
    """
    from scipy.stats import rankdata

    m, n = len(real), len(generated)
    ranks = rankdata(torch.cat([generated, real]).numpy())
    larger = ranks[:n].sum() - n * (n + 1) / 2
    return float((larger - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12))


def _located(found: TrainingNeighbours) -> tuple[Tensor, Tensor]:
    """[m, 2] and [n, 2]: cell, and distance from the nearest training example.

    An example's cell is that of its nearest training example, so that a copy is in the cell of
    what it copies. The cells belong to the training data: k-means starts from the same random
    centres whatever the seed of the run, for the error bar knows nothing of other starts.
    """
    from sklearn.cluster import KMeans

    number = min(MOST_CELLS, max(1, len(found.held_out.rows) // HELD_OUT_PER_CELL))
    clusters = KMeans(number, n_init=1, random_state=derive_seed("cells of c_t") % 2**32).fit(
        found.train.numpy()
    )
    cell = torch.from_numpy(clusters.labels_).double()
    held_out, generated = (
        torch.stack([cell[near.rows[:, 0]], near.distances[:, 0]], dim=1)
        for near in (found.held_out, found.generated)
    )
    return held_out, generated


def _cells_that_count(held_out: Tensor, generated: Tensor) -> Tensor:
    held_in, generated_in = (
        part[:, 0].unique(return_counts=True) for part in (held_out, generated)
    )
    enough = [cells[counts >= FEWEST] for cells, counts in (held_in, generated_in)]
    return enough[0][torch.isin(enough[0], enough[1])]
