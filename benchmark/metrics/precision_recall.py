"""Precision, recall, density and coverage of samples, by nearest-neighbour balls."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.metrics.neighbours import Progress, membership, squared_radii
from benchmark.metrics.resampling import REPEATS, HalfSamples, draw_subsets, subset_share
from benchmark.randomness import generator

NEIGHBOURS = 3  # of precision and recall, as Kynkäänniemi et al. take it
NEIGHBOURS_OF_DENSITY = 5  # of density and coverage, as Naeem et al. take it
LARGEST_HALF = 500  # examples; the time grows with the square


@dataclass(frozen=True)
class PrecisionRecall:
    """Three shares from 0 to 1, and a density from 0 that is 1 on average for equal sets."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision(evidence: Evidence) -> Measurement:
    """Share of generated examples that look real."""
    return _measured(evidence)["precision"]


def recall(evidence: Evidence) -> Measurement:
    """Share of real examples that the model could have made."""
    return _measured(evidence)["recall"]


def density(evidence: Evidence) -> Measurement:
    """How many real balls a generated example lies in, as a multiple of what is to be expected."""
    return _measured(evidence)["density"]


def coverage(evidence: Evidence) -> Measurement:
    """Share of real examples with a generated one nearby."""
    return _measured(evidence)["coverage"]


def precision_recall(
    *, real: Tensor, generated: Tensor, neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
    """Shares of each set that lie within the other's nearest-neighbour balls.

    Around every example of a set stands a ball that reaches to its k-th nearest neighbour in that
    set; what lies on its surface is outside. Precision is the share of generated examples within
    any real one's ball, recall the share of real examples within any generated one's. Density is
    the number of real balls around a generated example over k, and coverage the share of real
    balls that hold a generated example. Equal distributions do not give 1 in many dimensions
    (precision 0.48 for normals in 1,000): compare with the row of real data.

    Args:
        real: [n, d] vectors of real data, n > neighbours.
        generated: [m, d] vectors of generated data, m > neighbours.
        neighbours: k.

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, eqs. 1 and 2 (there, balls are closed);
    Naeem et al. 2020, arXiv:2002.09797, eqs. 5 and 7.
    """
    return _shares(real, generated, (neighbours,))[0]


def _shares(
    real: Tensor,
    generated: Tensor,
    several: Sequence[int],
    progress: Progress = lambda step, total: None,
) -> list[PrecisionRecall]:
    """`precision_recall` for several numbers of neighbours at the price of one."""
    check_vectors(at_least=max(several) + 1, real=real, generated=generated)
    real, generated = real.detach().cpu(), generated.detach().cpu()
    found = membership(
        real=real,
        generated=generated,
        real_radii=squared_radii(real, several, progress),
        generated_radii=squared_radii(generated, several, progress),
        progress=progress,
    )
    return [
        PrecisionRecall(
            precision=_mean(balls.real_balls > 0),
            recall=_mean(balls.reached),
            density=_mean(balls.real_balls) / neighbours,
            coverage=_mean(balls.used),
        )
        for neighbours, balls in zip(several, found, strict=True)
    ]


def _mean(values: Tensor) -> float:
    return values.double().mean().item()


def _measured(evidence: Evidence) -> dict[str, Measurement]:
    """All four by their names, measured once for a cell."""
    if "precision_recall" not in evidence.shared:
        evidence.shared["precision_recall"] = _measure(evidence)
    found: dict[str, Measurement] = evidence.shared["precision_recall"]
    return found


def _measure(evidence: Evidence) -> dict[str, Measurement]:
    real, generated = compared_vectors(evidence)

    def report(step: int, total: int) -> None:
        evidence.progress("nearest neighbours", step, total)

    values = _four(real, generated, report)
    sizes = {"real": len(real), "generated": len(generated)}
    share = subset_share(sizes, LARGEST_HALF)
    drawn = generator("precision_recall", evidence.seed)
    halves = [
        _four(real[rows["real"]], generated[rows["generated"]])
        for rows in draw_subsets(sizes, share=share, generator=drawn, repeats=REPEATS)
    ]
    return {
        name: Measurement.with_halves(
            value,
            HalfSamples(tuple(half[name] for half in halves), share),
            n=len(generated),
            lowest=0.0,
            highest=torch.inf if name == "density" else 1.0,
        )
        for name, value in values.items()
    }


def _four(
    real: Tensor, generated: Tensor, progress: Progress = lambda step, total: None
) -> dict[str, float]:
    """Each of the four with the neighbours of its own paper."""
    several = (NEIGHBOURS, NEIGHBOURS_OF_DENSITY)
    fewer, more = (asdict(found) for found in _shares(real, generated, several, progress))
    return {
        "precision": fewer["precision"],
        "recall": fewer["recall"],
        "density": more["density"],
        "coverage": more["coverage"],
    }
