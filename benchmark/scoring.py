"""Samples alone: measured like a model's, beside floors and ceilings at the same sample count."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.data.files import read_images
from benchmark.errors import UserError
from benchmark.features import network_for, network_name_for
from benchmark.metrics import METRICS
from benchmark.metrics.base import OF_SAMPLES, Conditions, Cost, Evidence
from benchmark.models import build
from benchmark.randomness import derive_seed, fork_rng
from benchmark.report.text import dataset_tables
from benchmark.run import measure, question
from benchmark.spec import Trainable
from benchmark.store import Cell, Identity
from benchmark.suite import load_suite
from benchmark.training_log import TrainingLog

FEWEST = 50  # below it a Fréchet distance says more about the sample count than about the samples
YOURS = "yours"


def score_samples(
    path: Path, data_name: str, data_root: Path | None, weights: Path | None, console: Console
) -> None:
    """Prints the sample and mode metrics of a set of samples, with floors and ceilings.

    Raises:
        UserError: samples or data cannot be read, do not fit each other, or are too few.
    """
    data = load_dataset(data_name, data_root)
    samples = read_images(path, data.spec)
    if len(samples) < FEWEST:
        raise UserError(
            f"{path} holds {len(samples)} samples: FID needs at least {FEWEST}, and compares only "
            "with values at the same count"
        )
    available = min(len(data.test), len(data.validation))
    count = min(len(samples), available)
    if count < len(samples):
        console.print(
            f"{path} holds {len(samples)} samples, {data.name} {available} held-out examples: "
            f"the first {count} samples are measured."
        )
    name = network_name_for(data.network, data.spec, weights)
    conditions = Conditions(count, 0, name)
    network = network_for(data.network, data.spec, weights)
    rows = {YOURS: ("model", samples[:count]), **_references(data, count)}
    cells = []
    with console.status("measuring"):
        for row, (role, drawn) in rows.items():
            cells.append(_cell(row, role, drawn, data, network, conditions))
    tables = dataset_tables(data.name, cells, list(rows))
    console.print(tables, markup=False, highlight=False)
    console.print(
        f"{count} samples of each row against {count} test examples of {data.name}; "
        f"features: {name or 'none'}."
    )


def _references(data: DataSet, count: int) -> dict[str, tuple[str, Tensor]]:
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


def _cell(
    row: str, role: str, drawn: Tensor, data: DataSet, network: Any, conditions: Conditions
) -> Cell:
    evidence = Evidence(
        spec=data.spec,
        model=None,
        test=data.test[:0],
        real=data.test[: len(drawn)],
        generated=drawn,
        network=network,
        modes=data.mixture,
        cost=Cost(None, None, None, len(drawn), None),
        seed=0,
    )
    identity = Identity(data.name, row, 0, 1.0, "", {}, data.hash)
    cell = Cell(identity, role, data.spec.shape, data.spec.levels)
    results = tuple(
        measure(metric, question(metric, conditions), evidence)
        for metric in METRICS
        if metric.table in (*OF_SAMPLES, "modes")
    )
    return replace(cell, results=results)
