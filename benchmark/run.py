"""One cell: fit, checkpoint, samples, measurements; each step is kept, so that none is redone."""

import hashlib
import io
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.errors import UserError
from benchmark.features import network_for
from benchmark.metrics import METRICS
from benchmark.metrics.base import Conditions, Cost, Evidence, Metric, NotApplicable
from benchmark.models import build
from benchmark.precision import full_precision
from benchmark.provenance import provenance
from benchmark.randomness import derive_seed, fork_rng
from benchmark.spec import DataSpec, Trainable
from benchmark.store import Cell, Identity, Question, Result, load, save, write_atomically
from benchmark.training_log import Progress, TrainingLog

FIGURE_IMAGES, FIGURE_POINTS = 36, 1_000


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know to run one cell.

    Args:
        identity: what is trained.
        role: model, baseline, ceiling or floor.
        data_source: the data set's name or path, as `load_dataset` takes it.
        conditions: under which it is measured.
        results: folder of stored cells.
        work: the cell's own folder for checkpoints and samples.
        reuse: take stored results as they are, even where `work` shows that another machine (or
            another clone) measured them.
    """

    identity: Identity
    role: str
    data_source: str
    conditions: Conditions
    data_root: Path | None
    inception_weights: Path | None
    device: str
    precision: str
    results: Path
    work: Path
    reuse: bool = False

    @property
    def questions(self) -> list[tuple[Metric, Question]]:
        return [(metric, question(metric, self.conditions)) for metric in METRICS]

    def stored(self) -> Cell | None:
        """What earlier runs left of this very cell; None if it is new or was another model."""
        path = self.results / self.identity.file_name
        if not path.exists() or not (self.reuse or self.work.exists()):
            return None
        cell = load(path)
        expected = self.identity
        if self.reuse:  # a comment added since is no reason to train again
            expected = replace(expected, code_hash=cell.identity.code_hash)
        return cell if cell.identity == expected else None

    def is_done(self) -> bool:
        """Whether every question has an answer that need not be asked again."""
        cell = self.stored()
        if cell is None or cell.failure:
            return False
        answers = [cell.answer(question) for _, question in self.questions]
        return all(answer is not None and answer.status != "failed" for answer in answers)


def question(metric: Metric, conditions: Conditions) -> Question:
    return Question(metric.name, metric.version, dict(metric.settings(conditions)))


def run_cell(plan: Plan, progress: Progress = lambda *_: None) -> Cell:
    """Trains, samples and measures, from wherever an earlier run was stopped.

    A model that fails to build, train or sample gives a cell with a `failure`; a metric that
    fails gives a failed result, and the others are there.

    Raises:
        UserError: the model's constructor or the data are at fault, not the model itself.
    """
    data = load_dataset(plan.data_source, plan.data_root)
    cell = plan.stored() or Cell(plan.identity, plan.role, data.spec.shape, data.spec.levels)
    if not plan.work.exists():
        save(cell, plan.results)  # before the folder that says these results are from here
        plan.work.mkdir(parents=True)
    try:
        model, cell = _trained(plan, data, cell, progress)
        generated, cell = _sampled(plan, data, model, cell, progress)
    except UserError:
        raise
    except Exception as error:
        failed = replace(cell, failure=f"{type(error).__name__}: {_one_line(error)}")
        save(failed, plan.results)
        return failed
    return _measured(plan, data, model, generated, cell, progress)


def _trained(plan: Plan, data: DataSet, cell: Cell, progress: Progress) -> tuple[Any, Cell]:
    """The fitted model, in evaluation mode on its device."""
    identity = plan.identity
    seed = derive_seed("train", identity.dataset, identity.model, identity.seed)
    path = plan.work / "model.pt"
    log = TrainingLog(plan.work, plan.precision, progress)
    with fork_rng(seed):
        model = build(identity.factory, data.spec, identity.settings)
        if isinstance(model, nn.Module):
            model.to(plan.device)
        if path.exists() and cell.checkpoint:
            model.load_state_dict(torch.load(path, weights_only=True, map_location=plan.device))
            return model.eval(), replace(cell, failure=None)
        if isinstance(model, Trainable):
            train, validation = data.train.to(plan.device), data.validation.to(plan.device)
            with closing(log):
                model.fit(train, validation, identity.budget, log)
    trained = isinstance(model, Trainable)
    cell = replace(
        cell,
        failure=None,
        training={
            "seconds": log.seconds if trained else None,
            "curve": log.curve(),
            "parameters": _parameters(model),
        },
        provenance=dict(provenance(plan.device)),
    )
    if isinstance(model, nn.Module):
        checkpoint = _save_state(model.eval(), path)
        kept = cell.results if cell.checkpoint in (None, checkpoint) else ()
        cell = replace(cell, checkpoint=checkpoint, results=kept)
    save(cell, plan.results)
    (plan.work / "training.pt").unlink(missing_ok=True)
    return model, cell


def _save_state(model: nn.Module, path: Path) -> str:
    """Writes the state whole and gives its hash: of the tensors, not of the file around them."""
    state = {name: value.cpu() for name, value in model.state_dict().items()}
    content = io.BytesIO()
    torch.save(state, content)
    write_atomically(path, content.getvalue())
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _parameters(model: Any) -> int | None:
    """How many numbers were learnt: the parameters, or what a model without any stores."""
    if not isinstance(model, nn.Module):
        return None
    learnt = sum(value.numel() for value in model.parameters())
    return learnt or sum(value.numel() for value in model.buffers())


def _sampled(
    plan: Plan, data: DataSet, model: Any, cell: Cell, progress: Progress
) -> tuple[Tensor, Cell]:
    """The samples that every sample metric sees, drawn once and kept."""
    count = plan.conditions.samples
    path = plan.work / f"samples_{count}.pt"
    if path.exists():
        return torch.load(path, weights_only=True)["samples"], cell
    progress("sampling", 0, count)
    identity = plan.identity
    seed = derive_seed("sample", identity.dataset, identity.model, identity.seed, count)
    started = time.perf_counter()
    with fork_rng(seed), torch.no_grad():
        drawn = model.sample(count)
        generated = torch.as_tensor(drawn).cpu()
    seconds = time.perf_counter() - started
    check_samples(generated, data.spec, count)
    generated = generated.to(data.test.dtype)
    shown = FIGURE_POINTS if len(data.spec.shape) == 1 else FIGURE_IMAGES
    cell = replace(
        cell,
        samples=generated[:shown].numpy(),
        real=data.test[:shown].numpy(),
        training={
            **cell.training,
            "sample_seconds": seconds,
            "peak_memory_bytes": _peak_memory(plan.device),
        },
    )
    save(cell, plan.results)
    content = io.BytesIO()
    torch.save({"samples": generated}, content)
    write_atomically(path, content.getvalue())
    return generated, cell


def check_samples(samples: Tensor, spec: DataSpec, count: int) -> None:
    """Raises ValueError, in one line, where samples are not what the spec promises."""
    expected = (count, *spec.shape)
    if tuple(samples.shape) != expected:
        raise ValueError(f"sample({count}) gave shape {list(samples.shape)}, not {list(expected)}")
    if spec.levels is None:
        if not samples.is_floating_point():
            raise ValueError(f"samples are {samples.dtype}, points must be floats")
        if not samples.isfinite().all():
            raise ValueError(f"{int((~samples.isfinite()).sum())} sampled numbers are not finite")
        return
    if samples.is_floating_point():
        raise ValueError(f"samples are {samples.dtype}, images must be integers")
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high >= spec.levels:
        raise ValueError(f"samples lie in {low}..{high}, not in 0..{spec.levels - 1}")


def _peak_memory(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _measured(
    plan: Plan, data: DataSet, model: Any, generated: Tensor, cell: Cell, progress: Progress
) -> Cell:
    """Asks what has no answer yet, and stores each answer at once."""
    evidence = Evidence(
        spec=data.spec,
        model=model,
        test=data.test[: plan.conditions.examples],
        real=_reference(plan, data)[: plan.conditions.samples],
        generated=generated,
        network=network_for(data.network, data.spec, plan.inception_weights, plan.device),
        modes=data.mixture,
        cost=_cost(cell, len(generated)),
        seed=plan.identity.seed,
        device=torch.device(plan.device),
        train=data.train,
        validation=data.validation,
        annealing=plan.conditions.annealing,
        progress=progress,
    )
    questions = plan.questions
    for index, (metric, asked) in enumerate(questions):
        answer = cell.answer(asked)
        if answer is None or answer.status == "failed":
            progress(f"measuring {metric.label}", index, len(questions))
            cell = cell.with_result(measure(metric, asked, evidence))
            save(cell, plan.results)
    return cell


def _reference(plan: Plan, data: DataSet) -> Tensor:
    return data.train if plan.conditions.reference == "train" else data.test


def _cost(cell: Cell, drawn: int) -> Cost:
    training: Mapping[str, Any] = cell.training
    return Cost(
        parameters=training.get("parameters"),
        train_seconds=training.get("seconds"),
        sample_seconds=training.get("sample_seconds"),
        samples_drawn=drawn,
        peak_memory_bytes=training.get("peak_memory_bytes"),
    )


def measure(metric: Metric, asked: Question, evidence: Evidence) -> Result:
    """One answer: a value, why there is none, or what went wrong."""
    started = time.perf_counter()

    def seconds() -> float:
        return round(time.perf_counter() - started, 4)

    try:
        with full_precision():
            measurement = metric.measure(evidence)
        return Result(asked, "measured", seconds=seconds(), **_shallow(measurement))
    except NotApplicable as absence:
        return Result(asked, "not applicable", reason=str(absence), seconds=seconds())
    except Exception as error:
        reason = f"{type(error).__name__}: {_one_line(error)}"
        return Result(asked, "failed", reason=reason, seconds=seconds())


def _shallow(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or "no message"
