"""Samples alone: measured like a model's, beside floors and ceilings at the same sample count."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import fill

import torch
from rich.console import Console
from torch import Tensor

from benchmark.compare import verdicts_text
from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.data.files import read_images
from benchmark.errors import UserError
from benchmark.features import network_for, network_name_for
from benchmark.metrics import METRICS
from benchmark.metrics.base import OF_SAMPLES, Conditions, Cost, Evidence, FeatureNetwork
from benchmark.models import build
from benchmark.plan import question
from benchmark.randomness import derive_seed, fork_rng
from benchmark.report.text import WIDTH, dataset_tables
from benchmark.run import measure
from benchmark.spec import Trainable
from benchmark.store import Cell, Identity
from benchmark.suite import load_suite
from benchmark.training_log import TrainingLog
from benchmark.verdicts import COMPARED, compare_cells

FEWEST = 2  # no metric has an answer below
YOURS, OTHER = "yours", "other"
MEASURED = tuple(metric for metric in METRICS if metric.table in (*OF_SAMPLES, "modes"))

Drawn = Mapping[str, tuple[str, Tensor]]  # {row: (role, samples)}


def score_samples(
    path: Path,
    data_name: str,
    data_root: Path | None,
    weights: Path | None,
    console: Console,
    against: Path | None = None,
) -> None:
    """Prints the sample and mode metrics of a set of samples, with floors and ceilings.

    Args:
        path: of the samples.
        data_name: the data set that they imitate.
        data_root: where torchvision's sets are.
        weights: of Inception.
        console: to print to.
        against: another set of samples, which the first is compared with.

    Raises:
        UserError: samples or data cannot be read, do not fit each other, or are too few.
    """
    data = load_dataset(data_name, data_root)
    files = {YOURS: path} if against is None else {YOURS: path, OTHER: against}
    samples = {row: _read(file, data) for row, file in files.items()}
    available = min(len(data.test), len(data.validation))
    count = min(available, *map(len, samples.values()))
    name = network_name_for(data.network, data.spec, weights)
    network = network_for(data.network, data.spec, weights)
    for row, drawn in samples.items():
        for remark in (
            *_shortened_to(count, files[row], len(drawn), available),
            *remarks_on(drawn[:count], data),
        ):
            _say(console, f"{row}: {remark}")
    _say(console, *_remarks_on_data(data, count))
    yours = {row: ("model", drawn[:count]) for row, drawn in samples.items()}
    conditions = Conditions(count, 0, name)
    cells = _measured({**yours, **_references(data, count)}, data, network, conditions, console)
    tables = dataset_tables(data.name, cells, [cell.identity.model for cell in cells])
    console.print(tables, markup=False, highlight=False, soft_wrap=True)
    _say(
        console,
        f"{count} samples of each row against {count} test examples of {data.name}; "
        f"features: {name or 'none'}.",
    )
    if against is not None:
        compared = [metric for metric in COMPARED if metric in MEASURED]
        verdicts = compare_cells(cells, YOURS, OTHER, compared)
        console.print(f"\n{verdicts_text({data.name: verdicts}, YOURS, OTHER)}", soft_wrap=True)


def remarks_on(samples: Tensor, data: DataSet) -> list[str]:
    """What a reader of their values should know of samples that can be measured: a line each.

    Args:
        samples: [n, *shape] that fit the data set.
        data: what they imitate.
    """
    remarks = []
    n, distinct = len(samples), len(_distinct(samples))
    if distinct == 1:
        remarks.append(f"all {n} samples are one and the same: this is a collapsed model")
    elif distinct < n:
        remarks.append(f"{n - distinct} of {n} samples repeat others: remove copies of files")
    if repeated := _found_in(samples, data.train):
        remarks.append(f"{repeated} of {n} samples are training examples, value for value")
    return remarks


def _read(path: Path, data: DataSet) -> Tensor:
    samples = read_images(path, data.spec)
    if len(samples) < FEWEST:
        raise UserError(
            f"{path} holds {len(samples)} sample: nothing can be measured below {FEWEST}, and "
            "error bars need at least 4"
        )
    return samples


def _shortened_to(count: int, path: Path, given: int, available: int) -> list[str]:
    if count == given:
        return []
    held_out = f"and there are {available} held-out examples"
    why = held_out if count == available else f"of the other set only {count}"
    return [f"{path} holds {given} samples, {why}: the first {count} are measured"]


def _remarks_on_data(data: DataSet, count: int) -> list[str]:
    repeated = _found_in(data.test[:count], data.train)
    if not repeated:
        return []
    return [
        f"{data.name}: {repeated} of {count} test examples are training examples too: "
        "memorisation looks smaller than it is"
    ]


def _found_in(examples: Tensor, others: Tensor) -> int:
    """How many of the examples also are among the others."""
    held = _distinct(others)
    return sum(row.tobytes() in held for row in examples.to(others.dtype).flatten(1).numpy())


def _distinct(examples: Tensor) -> set[bytes]:
    return {row.tobytes() for row in examples.flatten(1).numpy()}


def _say(console: Console, *sentences: str) -> None:
    for sentence in sentences:
        console.print(fill(sentence, WIDTH), markup=False, highlight=False, soft_wrap=True)


def _references(data: DataSet, count: int) -> Drawn:
    """Samples of every floor and ceiling of the quick suite."""
    references: dict[str, tuple[str, Tensor]] = {}
    for entry in load_suite("quick").models:
        if entry.role not in ("floor", "ceiling"):
            continue
        with fork_rng(derive_seed("score", data.name, entry.name)), torch.no_grad():
            model = build(entry.factory, data.spec, entry.settings_on(data.name))
            if isinstance(model, Trainable):
                model.fit(data.train, data.validation, 1.0, TrainingLog(None, "32-true"))
            references[entry.name] = (entry.role, model.sample(count))
    return references


def _measured(
    rows: Drawn,
    data: DataSet,
    network: FeatureNetwork | str,
    conditions: Conditions,
    console: Console,
) -> list[Cell]:
    cells: list[Cell] = []
    with console.status("measuring") as status:
        for row, (role, drawn) in rows.items():
            status.update(f"measuring {row}, {len(cells) + 1} of {len(rows)} rows")
            evidence = _evidence(drawn, data, network)
            identity = Identity(data.name, row, 0, 1.0, "", {}, data.hash)
            cell = Cell(identity, role, data.spec.shape, data.spec.levels)
            answers = [
                measure(metric, question(metric, conditions), evidence) for metric in MEASURED
            ]
            cells.append(replace(cell, results=tuple(answers)))
    return cells


def _evidence(drawn: Tensor, data: DataSet, network: FeatureNetwork | str) -> Evidence:
    """One seed for all rows: they meet the same halves of the real data, and so compare."""
    return Evidence(
        spec=data.spec,
        model=None,
        test=data.test[:0],
        real=data.test[: len(drawn)],
        generated=drawn,
        network=network,
        modes=data.modes,
        cost=Cost(None, None, None, len(drawn), None),
        seed=0,
        train=data.train,
        validation=data.validation,
    )
