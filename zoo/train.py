"""The one training loop: batches, averaging, checkpoints that resume, and a guard against NaN."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.optim.swa_utils import AveragedModel

from benchmark.spec import Log

Update = Callable[[Callable[[], Tensor]], Mapping[str, Tensor]]

FLUSH_STEPS = 50  # losses stay on the device for so many steps, so that a GPU is not kept waiting
CHECKPOINT_SECONDS = 15.0


class TrainingDiverged(RuntimeError):
    """A loss stopped being a finite number."""


def scaled_steps(steps: int, budget: float) -> int:
    """The training length at a budget: a fraction of `steps`, and at least one step."""
    if not budget > 0:
        raise ValueError(f"budget must be positive, got {budget}")
    return max(1, round(steps * budget))


def adam(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Adam:
    return Adam(parameters, lr=learning_rate, betas=betas, fused=True)


def linear_decay(optimiser: Optimizer, steps: int, start: float = 0.0) -> LRScheduler:
    """Lowers the learning rate linearly to zero, from the fraction `start` of `steps` on."""

    def factor(step: int) -> float:
        return min(1.0, (1 - step / steps) / (1 - start)) if step < steps else 0.0

    return LambdaLR(optimiser, factor)


def descend(optimiser: Optimizer, loss: Tensor, retain_graph: bool = False) -> None:
    """One step of the optimiser's own parameters; gradients of all others stay as they are."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    optimiser.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters, retain_graph=retain_graph)
    optimiser.step()


def train(
    model: nn.Module,
    update: Update,
    *,
    optimisers: Sequence[Optimizer],
    data: Tensor,
    steps: int,
    batch_size: int,
    log: Log,
    schedulers: Sequence[LRScheduler] = (),
    ema_decay: float | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    validate_every: int = 100,
) -> None:
    """Trains `model` in place and leaves it in evaluation mode.

    With `ema_decay`, the model ends with the averaged weights; with `validate`, with those
    (averaged) weights that had the lowest validation loss. If `log.folder` holds a checkpoint of
    the same length, training goes on from there and ends with the weights that an uninterrupted
    run ends with.

    Args:
        model: on the device of `data`.
        update: makes one training step, its optimiser steps included, and returns the losses
            (scalars). It is given a function that draws a batch [batch_size, *shape]; a step may
            draw several.
        optimisers: saved with the checkpoint.
        data: [n, *shape], all of it on the device.
        steps: how many calls of `update`.
        batch_size: examples in a batch, drawn with replacement.
        log: takes the losses of every step; its folder holds the checkpoint.
        schedulers: saved with the checkpoint; the loop steps them once after each update.
        ema_decay: of the exponential moving average of weights, None for none. The first steps
            decay faster, so that a short run is not an average over its beginning.
        validate: gives a loss for a model in evaluation mode.
        validate_every: steps between two calls of `validate`.

    Raises:
        TrainingDiverged: a loss became NaN or infinite; the message names loss and step.
    """
    loop = _Loop(model, optimisers, schedulers, ema_decay, steps, log)
    loop.resume()
    autocast = _autocast(data.device, log.precision)

    def draw() -> Tensor:
        return data[torch.randint(len(data), (batch_size,), device=data.device)]

    model.train()
    while loop.step < steps:
        with autocast():
            losses = update(draw)
        loop.advance(losses)
        if validate is not None and (loop.step % validate_every == 0 or loop.step == steps):
            loop.keep_best(validate)
        if loop.step % FLUSH_STEPS == 0 or loop.step == steps:
            loop.flush()
    loop.finish()


def _autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager]:
    if precision == "32-true":
        return nullcontext
    if precision != "bf16-mixed":
        raise ValueError(f"precision must be '32-true' or 'bf16-mixed', got {precision!r}")
    from lightning_fabric import Fabric  # takes seconds to import: only those pay who need it

    return Fabric(accelerator=device.type, devices=1, precision="bf16-mixed").autocast


def _ramped_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    def update(averages: Sequence[Tensor], currents: Sequence[Tensor], updates: Any) -> None:
        count = int(updates)
        weight = max(1 - decay, 9 / (10 + count))
        torch._foreach_lerp_(list(averages), list(currents), weight)

    return update


class _Loop:
    """The state that a checkpoint holds, and what is done to it between steps."""

    def __init__(
        self,
        model: nn.Module,
        optimisers: Sequence[Optimizer],
        schedulers: Sequence[LRScheduler],
        ema_decay: float | None,
        steps: int,
        log: Log,
    ) -> None:
        self.model, self.optimisers, self.schedulers = model, optimisers, schedulers
        self.steps, self.log = steps, log
        self.average = (
            AveragedModel(model, multi_avg_fn=_ramped_average(ema_decay), use_buffers=False)
            if ema_decay is not None
            else None
        )
        self.step = 0
        self.best_loss = math.inf
        self.best_state: dict[str, Tensor] | None = None
        self.pending: list[tuple[int, Mapping[str, Tensor]]] = []
        self.saved_at = time.monotonic()

    @property
    def path(self) -> Path | None:
        return self.log.folder / "training.pt" if self.log.folder else None

    @property
    def candidate(self) -> nn.Module:
        """The model as it would be used if training ended now."""
        return self.average.module if self.average is not None else self.model

    def advance(self, losses: Mapping[str, Tensor]) -> None:
        self.step += 1
        for scheduler in self.schedulers:
            scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.pending.append((self.step, {name: loss.detach() for name, loss in losses.items()}))

    def keep_best(self, validate: Callable[[nn.Module], float]) -> None:
        self.candidate.eval()
        with torch.no_grad():
            loss = validate(self.candidate)
        self.model.train()
        if loss < self.best_loss:
            self.best_loss = loss
            state = self.candidate.state_dict()
            self.best_state = {name: value.detach().clone() for name, value in state.items()}

    def flush(self) -> None:
        """Hands the pending losses to the log, and saves a checkpoint when it is time."""
        names = list(self.pending[0][1]) if self.pending else []
        rows = [torch.stack([row[name].float() for name in names]) for _, row in self.pending]
        table = torch.stack(rows)
        for (step, _), values in zip(self.pending, table.tolist(), strict=True):
            for name, value in zip(names, values, strict=True):
                if not math.isfinite(value):
                    raise TrainingDiverged(f"loss {name!r} became {value} at step {step}")
            self.log(step, self.steps, **dict(zip(names, values, strict=True)))
        self.pending.clear()
        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS and self.step < self.steps:
            self.save()

    def save(self) -> None:
        if self.path is None:
            return
        state = {
            "steps": self.steps,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "average": self.average.state_dict() if self.average is not None else None,
            "best_loss": self.best_loss,
            "best_state": self.best_state,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        temporary = self.path.with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(self.path)
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        if self.path is None or not self.path.exists():
            return
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        if state["steps"] != self.steps:
            return
        self.step, self.best_loss = state["step"], state["best_loss"]
        self.best_state = state["best_state"]
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])

    def finish(self) -> None:
        final = self.best_state if self.best_state is not None else self.candidate.state_dict()
        self.model.load_state_dict(final)
        self.model.eval()
