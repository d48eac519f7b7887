"""How often `compare` finds a difference between two sets of samples of one and the same model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.data.base import DataSet
from benchmark.data.digits import load_digits
from benchmark.data.gaussians import Mixture
from benchmark.data.mixture import ring
from benchmark.features import load_network
from benchmark.metrics.base import OF_SAMPLES, Conditions, Cost, Evidence, Metric
from benchmark.plan import question
from benchmark.randomness import derive_seed, generator
from benchmark.run import measure
from benchmark.spec import DataSpec
from benchmark.store import Cell, Identity
from benchmark.verdicts import COMPARED, compare_cells

FIRST, SECOND = "model", "model again"
MEASURED = tuple(metric for metric in COMPARED if metric.table in (*OF_SAMPLES, "modes"))
POINTS, IMAGES = 300, 200  # of each set of a repeat


@dataclass(frozen=True)
class Draw:
    """Fresh data of one repeat, and two independent sets of samples of one model.

    Args:
        data: its test split is what both sets are compared with.
        first, second: [n, *shape], as many as test examples.
    """

    data: DataSet
    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class Repeat:
    """What one comparison of a model with itself gave.

    Args:
        p_values: {metric: its own p-value}, uncorrected.
        corrected: {metric: its p-value corrected for the number of metrics}.
        decided: names of the metrics that gave a verdict.
    """

    p_values: Mapping[str, float]
    corrected: Mapping[str, float]
    decided: tuple[str, ...]


def draw_points(drawn: torch.Generator) -> Draw:
    """The ring, and a model with wider modes of unequal weights."""
    truth = ring()
    weights = torch.arange(4, 4 + len(truth.means), dtype=torch.float64)
    model = Mixture(truth.means, 1.5 * truth.scales, weights / weights.sum())
    train, validation, test = (
        truth.sample(n, drawn).float() for n in (4 * POINTS, POINTS, POINTS)
    )
    spec = DataSpec((2,))
    data = DataSet("ring", spec, train, validation, test, mixture=truth)
    first, second = (model.sample(POINTS, drawn).float() for _ in range(2))
    return Draw(data, first, second)


def draw_images(drawn: torch.Generator) -> Draw:
    """Digits that no network has learnt from, and a model that gives other ones with noise."""
    data = load_digits()
    unseen = torch.cat([data.validation, data.test])
    order = torch.randperm(len(unseen), generator=drawn)
    test, first, second, validation = unseen[order[: 4 * IMAGES]].split(IMAGES)
    fresh = replace(data, validation=validation, test=test, test_labels=None)
    return Draw(fresh, _noisy(first, drawn), _noisy(second, drawn))


SETTINGS: dict[str, Callable[[torch.Generator], Draw]] = {
    "points": draw_points,
    "images": draw_images,
}


def compare_with_itself(setting: str, index: int, metrics: Sequence[Metric] = MEASURED) -> Repeat:
    """One repeat: draws, measures and compares as `all` and `compare` do, with one seed each.

    Args:
        setting: one of SETTINGS.
        index: of the repeat; an equal one gives an equal result.
        metrics: which ones, if not all that `compare` looks at and that need samples only.
    """
    draw = SETTINGS[setting](generator("compare with itself", setting, index))
    seed = derive_seed("halves of a comparison with itself", setting, index)
    cells = [
        _cell(name, samples, draw.data, metrics, seed)
        for name, samples in ((FIRST, draw.first), (SECOND, draw.second))
    ]
    rows = compare_cells(cells, FIRST, SECOND, metrics).rows
    return Repeat(
        {row.metric.name: row.p_value for row in rows},
        {row.metric.name: row.p_value if row.corrected is None else row.corrected for row in rows},
        tuple(row.metric.name for row in rows if row.better is not None),
    )


def decided_share(repeats: Sequence[Repeat]) -> float:
    """Share of the repeats in which any metric gave a verdict: at most 5 % are to."""
    return sum(bool(repeat.decided) for repeat in repeats) / len(repeats)


def small_p_values(repeats: Sequence[Repeat], level: float = 0.05) -> dict[str, float]:
    """{metric: share of the repeats with its uncorrected p-value at most `level`}."""
    names = dict.fromkeys(name for repeat in repeats for name in repeat.p_values)
    return {
        name: sum(repeat.p_values.get(name, 1.0) <= level for repeat in repeats) / len(repeats)
        for name in names
    }


def _noisy(images: Tensor, drawn: torch.Generator) -> Tensor:
    noise = torch.randint(-2, 3, images.shape, generator=drawn)
    return (images.long() + noise).clamp(0, 16).to(torch.uint8)


def _cell(name: str, samples: Tensor, data: DataSet, metrics: Sequence[Metric], seed: int) -> Cell:
    evidence = Evidence(
        spec=data.spec,
        model=None,
        test=data.test[:0],
        real=data.test,
        generated=samples,
        network=load_network(data.network) if data.network else "points have no feature network",
        modes=data.modes,
        cost=Cost(None, None, None, len(samples), None),
        seed=seed,
        train=data.train,
        validation=data.validation,
    )
    conditions = Conditions(len(samples), 0, data.network)
    results = [measure(metric, question(metric, conditions), evidence) for metric in metrics]
    identity = Identity(data.name, name, 0, 1.0, "", {}, "")
    return Cell(identity, "model", data.spec.shape, data.spec.levels, results=tuple(results))
