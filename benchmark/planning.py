"""From a suite and what was asked of it to the cells that are to run."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import torch

from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.errors import UserError
from benchmark.features import network_name_for
from benchmark.metrics.base import Annealing, Conditions, Reference
from benchmark.models import code_hash, load_factory
from benchmark.plan import Plan, questions_under
from benchmark.store import Identity
from benchmark.suite import DataEntry, ModelEntry, Role, Suite

SHORTER: Sequence[Sequence[Role]] = (("model",), ("baseline",), ("ceiling", "floor"))


@dataclass(frozen=True)
class Options:
    """What the command line adds to a suite.

    Args:
        budget: fraction of every training length.
        samples, examples: override the suite's, on every data set.
        reference: the split that sample metrics compare with, test or train.
        out: reports go to `out/<suite>`.
        runs: checkpoints and samples go to `runs/<suite>`.
        reuse: take stored results that were measured elsewhere as they are.
        together: train the seeds of a model on a data set as one batched model, where it can;
            None to do so on a GPU, which small models leave idle, and where the suite says so.
    """

    budget: float = 1.0
    samples: int | None = None
    examples: int | None = None
    reference: Reference = "test"
    device: str = "auto"
    precision: str = "32-true"
    data_root: Path | None = None
    inception_weights: Path | None = None
    out: Path = Path("reports")
    runs: Path = Path("runs")
    reuse: bool = False
    together: bool | None = None


def plan_cells(suite: Suite, options: Options) -> list[Plan]:
    """Every cell of a suite, seeds outermost, so that a stopped run has whole tables.

    In each seed what is trained comes first and what is not even fitted last: with short cells at
    the end no core waits long.

    Raises:
        UserError: data, a factory or a condition is at fault; said before anything is trained.
    """
    if not options.budget > 0:
        raise UserError(f"--budget must be positive, got {options.budget:g}")
    for entry in suite.models:
        load_factory(entry.factory)
    device = resolve_device(options.device)
    data = {entry.name: load_dataset(entry.name, options.data_root) for entry in suite.datasets}
    conditions = {
        entry.name: _conditions(entry, data[entry.name], options) for entry in suite.datasets
    }
    seeds = dict.fromkeys(chain.from_iterable(map(suite.seeds_on, suite.datasets)))
    return [
        _plan(suite, entry, model, seed, data[entry.name], conditions[entry.name], options, device)
        for seed in seeds
        for roles in SHORTER
        for entry in suite.datasets
        if seed in suite.seeds_on(entry)
        for model in suite.models
        if model.role in roles
    ]


def in_groups(plans: Sequence[Plan]) -> list[list[Plan]]:
    """The cells in the order of their first, those that train together in one list."""
    groups: dict[Hashable, list[Plan]] = {}
    for plan in plans:
        identity = plan.identity
        together = plan.together and hasattr(load_factory(identity.factory), "fit_together")
        alone = None if together else identity.seed
        groups.setdefault((identity.dataset, identity.model, alone), []).append(plan)
    return list(groups.values())


def resolve_device(name: str) -> str:
    """`auto` is a GPU where there is one.

    Raises:
        UserError: an unknown device, or a GPU where there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(f"no device named {name!r}; known: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu")
    return name


def _conditions(entry: DataEntry, data: DataSet, options: Options) -> Conditions:
    samples = entry.samples if options.samples is None else options.samples
    examples = entry.examples if options.examples is None else options.examples
    available = min(len(getattr(data, options.reference)), len(data.validation))
    if not 2 <= samples <= available:
        raise UserError(
            f"{data.name}: {samples} samples asked for; sample metrics compare as many held-out "
            f"examples, of which there are 2 to {available}: give --samples {available} or fewer"
        )
    if not 2 <= examples <= len(data.test):
        raise UserError(
            f"{data.name}: {examples} test examples asked for, there are 2 to {len(data.test)}: "
            "lower --examples"
        )
    annealing = _within(entry.annealing.scaled(options.budget), data, examples)
    given = Conditions(
        samples, examples, None, options.reference, annealing, entry.asked, entry.quadrature
    )
    if not any("network" in asked.settings for _, asked in questions_under(given)):
        return given  # so that no network is fetched in vain
    name = network_name_for(data.network, data.spec, options.inception_weights)
    return replace(given, network=name)


def _within(annealing: Annealing, data: DataSet, examples: int) -> Annealing:
    """No more examples than there are, or than the user asked likelihoods for."""
    return replace(
        annealing,
        examples=min(annealing.examples, examples),
        train_examples=min(annealing.train_examples, len(data.train)),
    )


def _plan(
    suite: Suite,
    entry: DataEntry,
    model: ModelEntry,
    seed: int,
    data: DataSet,
    conditions: Conditions,
    options: Options,
    device: str,
) -> Plan:
    identity = Identity(
        dataset=data.name,
        model=model.name,
        seed=seed,
        budget=options.budget,
        factory=model.factory,
        settings=model.settings_on(data.name),
        data_hash=data.hash,
        code_hash=code_hash(model.factory),
    )
    folder = f"{identity.dataset}_{identity.model}_seed{seed}-{identity.fingerprint}"
    return Plan(
        identity,
        model.role,
        entry.name,
        conditions,
        options.data_root,
        options.inception_weights,
        device,
        options.precision,
        results=options.out / suite.name / "results",
        work=options.runs / suite.name / folder,
        reuse=options.reuse,
        together=_together(suite, model, entry, options.together, device),
        frames=seed == min(suite.seeds_on(entry)) and _is_planar_mixture(data),
    )


def _together(
    suite: Suite, model: ModelEntry, entry: DataEntry, asked: bool | None, device: str
) -> bool:
    if asked is not None:
        return asked
    return device == "cuda" or (suite.together and entry.name not in model.apart)


def _is_planar_mixture(data: DataSet) -> bool:
    return data.modes is not None and data.spec.is_planar


def conditions_by_dataset(plans: list[Plan]) -> Mapping[str, Conditions]:
    """The conditions of every data set in a list of cells."""
    return {plan.identity.dataset: plan.conditions for plan in plans}
