"""Training, of one cell or of several together: what it leaves is kept, so that none is redone."""

import hashlib
import io
import resource
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.errors import UserError, in_one_line
from benchmark.models import build, classes_of
from benchmark.plan import Plan
from benchmark.provenance import provenance
from benchmark.randomness import derive_seed, fork_rng
from benchmark.snapshots import Snapshots
from benchmark.spec import Trainable, TrainingDiverged
from benchmark.store import Cell, save, write_atomically
from benchmark.training_log import Progress, TrainingLog


def train_group(plans: Sequence[Plan], progress: Progress = lambda *_: None) -> str | None:
    """Trains cells that differ in their seeds alone as one batched model, and keeps each.

    `run_cell` then finds them trained. Every model is built as if it were alone; what is drawn
    during training comes from one stream for all, so that its result depends on the group.

    Returns:
        Why they could not be trained, which each of their cells then says; None if they are.

    Raises:
        UserError: as `run_cell`.
    """
    data = load_dataset(plans[0].data_source, plans[0].data_root)
    cells = [begun(plan, data) for plan in plans]
    if all(_is_trained(plan, cell) for plan, cell in zip(plans, cells, strict=True)):
        return None
    try:
        _train_together(plans, cells, data, progress)
    except UserError:
        raise
    except Exception as error:
        failure = in_one_line(error)
        for plan, cell in zip(plans, cells, strict=True):
            save(replace(cell, failure=failure), plan.results)
        return failure
    return None


def _train_together(
    plans: Sequence[Plan], cells: Sequence[Cell], data: DataSet, progress: Progress
) -> None:
    first = plans[0]
    models = [_built(plan, data) for plan in plans]
    logs = [_log(plan, data, progress) for plan in plans]
    identity = first.identity
    seeds = [plan.identity.seed for plan in plans]
    with fork_rng(derive_seed("train together", identity.dataset, identity.model, *seeds)):
        train, validation = data.train.to(first.device), data.validation.to(first.device)
        with ExitStack() as stack:
            for log in logs:
                stack.enter_context(closing(log))
            models[0].fit_together(models, train, validation, identity.budget, logs)
    ended = list(zip(plans, cells, models, logs, strict=True))
    for plan, cell, model, log in reversed(ended):  # the first one's folder holds the checkpoint
        _keep_trained(plan, cell, model, log, together=len(plans))


def begun(plan: Plan, data: DataSet) -> Cell:
    """What there is of the cell, and the folder for its work."""
    cell = plan.stored() or Cell(plan.identity, plan.role, data.spec.shape, data.spec.levels)
    if not plan.work.exists():
        save(cell, plan.results)  # before the folder that says these results are from here
        plan.work.mkdir(parents=True)
    return cell


def trained(plan: Plan, data: DataSet, cell: Cell, progress: Progress) -> tuple[Any, Cell]:
    """The fitted model, in evaluation mode on its device."""
    identity = plan.identity
    log = _log(plan, data, progress)
    with fork_rng(derive_seed("train", identity.dataset, identity.model, identity.seed)):
        model = build(identity.factory, data.spec, identity.settings)
        if isinstance(model, nn.Module):
            model.to(plan.device)
        if _is_trained(plan, cell):
            state = torch.load(_checkpoint(plan), weights_only=True, map_location=plan.device)
            model.load_state_dict(state)
            return model.eval(), replace(cell, failure=None)
        if isinstance(model, Trainable):
            with closing(log):
                try:
                    _fit(model, data, plan, log)
                except TrainingDiverged as error:
                    log.diverged(error.step, error.steps, error.loss, error.value)
    return model, _keep_trained(plan, cell, model, log)


def _fit(model: Any, data: DataSet, plan: Plan, log: TrainingLog) -> None:
    train, validation = data.train.to(plan.device), data.validation.to(plan.device)
    classes = classes_of(model)
    if not classes:
        model.fit(train, validation, plan.identity.budget, log)
        return
    if data.train_labels is None or data.validation_labels is None:
        raise ValueError(
            f"the model learns {classes} classes, and {data.name} has no labels: build it without"
        )
    labels = data.train_labels.to(plan.device), data.validation_labels.to(plan.device)
    model.fit(train, validation, plan.identity.budget, log, labels)


def _keep_trained(
    plan: Plan, cell: Cell, model: Any, log: TrainingLog, together: int | None = None
) -> Cell:
    """Stores how training went, and the checkpoint unless it diverged.

    Of models trained together each has an equal share of the seconds, and the memory of all.
    """
    trained = isinstance(model, Trainable)
    facts: dict[str, Any] = {
        "seconds": log.seconds / (together or 1) if trained else None,
        "curve": log.curve(),
        "parameters": _parameters(model),
        "peak_memory_bytes": peak_memory(plan.device),
    }
    if together is not None:
        facts["together"] = together
    if log.snapshots is not None and log.snapshots.coverage["step"]:
        facts["coverage"] = log.snapshots.coverage
        facts["frame_steps"] = log.snapshots.frame_steps
    if log.divergence is not None:
        facts["diverged"] = dict(log.divergence)
    cell = replace(
        cell,
        failure=None,
        training=facts,
        frames=log.snapshots.frames if log.snapshots is not None else None,
        provenance=dict(provenance(plan.device)),
    )
    checkpoint = None
    if isinstance(model, nn.Module) and log.divergence is None:
        checkpoint = _save_state(model.eval(), _checkpoint(plan))
    if cell.checkpoint not in (None, checkpoint):  # another model was here before
        cell = replace(cell, results=(), completions=None)
        for drawn in plan.work.glob("samples_*.pt"):
            drawn.unlink()
    cell = replace(cell, checkpoint=checkpoint)
    save(cell, plan.results)
    (plan.work / "training.pt").unlink(missing_ok=True)
    return cell


def peak_memory(device: str) -> int:
    """The most bytes that this process has held so far: of the device on a GPU, else its own."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _is_trained(plan: Plan, cell: Cell) -> bool:
    return "diverged" in cell.training or bool(cell.checkpoint and _checkpoint(plan).exists())


def _checkpoint(plan: Plan) -> Path:
    return plan.work / "model.pt"


def _built(plan: Plan, data: DataSet) -> Any:
    identity = plan.identity
    with fork_rng(derive_seed("train", identity.dataset, identity.model, identity.seed)):
        model = build(identity.factory, data.spec, identity.settings)
    return model.to(plan.device) if isinstance(model, nn.Module) else model


def _log(plan: Plan, data: DataSet, progress: Progress) -> TrainingLog:
    snapshots = None
    if data.modes is not None and not data.spec.is_image:
        snapshots = Snapshots(data.modes, frames=plan.frames, folder=plan.work)
    return TrainingLog(plan.work, plan.precision, progress, snapshots)


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
