"""One cell: fit, checkpoint, samples, measurements; each step is kept, so that none is redone."""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data import load_dataset
from benchmark.data.base import DataSet
from benchmark.errors import UserError, in_one_line
from benchmark.features import network_for
from benchmark.metrics.base import Cost, Evidence, Metric, NotApplicable
from benchmark.plan import Plan
from benchmark.precision import full_precision
from benchmark.randomness import derive_seed, fork_rng
from benchmark.sampling import COMPLETED_IMAGES, COMPLETIONS, check_samples, completions
from benchmark.spec import Completer, ProgressTeller
from benchmark.store import Cell, Question, Result, save, write_atomically
from benchmark.training import begun, peak_memory, trained
from benchmark.training_log import Progress

FIGURE_IMAGES, FIGURE_POINTS = 36, 1_000
SAVE_SECONDS = 0.5  # of measuring, at most, that a killed process loses


def run_cell(plan: Plan, progress: Progress = lambda *_: None) -> Cell:
    """Trains, samples and measures, from wherever an earlier run was stopped.

    A model that fails to build, train or sample gives a cell with a `failure`; a metric that
    fails gives a failed result, and the others are there. Training that diverges is no failure of
    the run: it is the model's result, and counts against it.

    Raises:
        UserError: the model's constructor or the data are at fault, not the model itself.
    """
    data = load_dataset(plan.data_source, plan.data_root)
    cell = begun(plan, data)
    try:
        if "diverged" not in cell.training:
            model, cell = trained(plan, data, cell, progress)
        if "diverged" in cell.training:
            return _answered_for_divergence(plan, cell)
        generated, cell = _sampled(plan, data, model, cell, progress)
        cell = _completed(plan, data, model, cell, progress)
    except UserError:
        raise
    except Exception as error:
        failed = replace(cell, failure=in_one_line(error))
        save(failed, plan.results)
        return failed
    return _measured(plan, data, model, generated, cell, progress)


def failure_of(cell: Cell) -> str | None:
    """The first of what went wrong, None if nothing did."""
    failed = [result for result in cell.results if result.status == "failed"]
    if cell.failure or not failed:
        return cell.failure
    return f"{failed[0].question.metric}: {failed[0].reason}"


def _answered_for_divergence(plan: Plan, cell: Cell) -> Cell:
    """No mode captured and no sample of high quality; nothing else has an answer."""
    ended = cell.training["diverged"]
    reason = f"training diverged at step {ended['step']:,} of {ended['steps']:,}"
    for metric, asked in plan.questions:
        if metric.table == "modes" and metric.better == "higher":
            result = Result(
                asked,
                "measured",
                value=0.0,
                standard_error=0.0,
                low=0.0,
                high=0.0,
                n=plan.conditions.samples,
                meaning="estimate",
                details={"remark": reason},
            )
        else:
            result = Result(asked, "not applicable", reason=reason)
        cell = cell.with_result(result)
    save(cell, plan.results)
    return cell


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
    _let_tell(model, partial(progress, "sampling"))
    seed = derive_seed("sample", identity.dataset, identity.model, identity.seed, count)
    started = time.perf_counter()
    with fork_rng(seed), torch.no_grad():
        drawn = model.sample(count)
        generated = torch.as_tensor(drawn).cpu()
    seconds = time.perf_counter() - started
    of_training = cell.training.get("peak_memory_bytes", 0)  # which may have been another process
    check_samples(generated, data.spec, count)
    generated = generated.to(data.test.dtype)
    cell = replace(
        cell,
        samples=_shown(generated, data),
        real=_shown(data.test, data),
        training={
            **cell.training,
            "sample_seconds": seconds,
            "peak_memory_bytes": max(of_training, peak_memory(plan.device)),
        },
    )
    save(cell, plan.results)
    content = io.BytesIO()
    torch.save({"samples": generated}, content)
    write_atomically(path, content.getvalue())
    return generated, cell


def _shown(examples: Tensor, data: DataSet) -> np.ndarray | None:
    """Those that figures show, None where these cannot show any."""
    if data.spec.is_image:
        return examples[:FIGURE_IMAGES].numpy()
    return examples[:FIGURE_POINTS].numpy() if data.spec.is_planar else None


def _let_tell(model: Any, tell: Callable[[int, int], None]) -> None:
    if isinstance(model, ProgressTeller):
        model.tell_progress(tell)


def _completed(plan: Plan, data: DataSet, model: Any, cell: Cell, progress: Progress) -> Cell:
    """Some test images completed from their upper half, where the model can, drawn once."""
    if cell.completions is not None or not (data.spec.is_image and isinstance(model, Completer)):
        return cell
    progress("completing", 0, COMPLETED_IMAGES * COMPLETIONS)
    _let_tell(model, partial(progress, "completing"))
    identity = plan.identity
    with (
        fork_rng(derive_seed("complete", identity.dataset, identity.model, identity.seed)),
        torch.no_grad(),
    ):
        images = data.test[:COMPLETED_IMAGES].to(plan.device)
        drawn = completions(model, images, data.spec).to(data.test.dtype)
    cell = replace(cell, completions=drawn.numpy())
    save(cell, plan.results)
    return cell


def _measured(
    plan: Plan, data: DataSet, model: Any, generated: Tensor, cell: Cell, progress: Progress
) -> Cell:
    """Asks what has no answer yet, and stores the answers, those that took long at once."""
    evidence = Evidence(
        spec=data.spec,
        model=model,
        test=data.test[: plan.conditions.examples],
        real=_reference(plan, data)[: plan.conditions.samples],
        generated=generated,
        network=network_for(data.network, data.spec, plan.inception_weights, plan.device),
        modes=data.modes,
        cost=_cost(cell, len(generated)),
        seed=plan.identity.seed,
        device=torch.device(plan.device),
        train=data.train,
        validation=data.validation,
        annealing=plan.conditions.annealing,
        quadrature=plan.conditions.quadrature,
        progress=progress,
        training=cell.training,
        test_labels=data.test_labels,
        train_labels=data.train_labels,
    )
    questions = plan.questions
    stored, unsaved_seconds = cell, 0.0
    for index, (metric, asked) in enumerate(questions):
        answer = cell.answer(asked)
        if answer is None or answer.status == "failed":
            progress(f"measuring {metric.label}", index, len(questions))
            result = measure(metric, asked, evidence)
            cell = cell.with_result(result)
            unsaved_seconds += result.seconds
            if unsaved_seconds > SAVE_SECONDS:
                save(cell, plan.results)
                stored, unsaved_seconds = cell, 0.0
    if cell is not stored:
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
        reason = in_one_line(error)
        return Result(asked, "failed", reason=reason, seconds=seconds())


def _shallow(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
