"""The one training loop: batches, averaging, checkpoints that resume, and a guard against NaN."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from benchmark.spec import Log
from zoo import loop
from zoo.loop import Loop

VALIDATE_EVERY = 100  # steps

Update = Callable[[Callable[[], Tensor]], Mapping[str, Tensor]]


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
    for parameter in parameters:  # as `zero_grad` does, without the records that it keeps
        parameter.grad = None
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
    sample: Callable[[int], Tensor] | None = None,
    schedulers: Sequence[LRScheduler] = (),
    ema_decay: float | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    validate_every: int = VALIDATE_EVERY,
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
        sample: draws [n, *shape] with the model's current weights, for the log's snapshots; the
            loop lends the model its averaged weights meanwhile. None for no snapshots.
        schedulers: saved with the checkpoint; the loop steps them once after each update.
        ema_decay: of the exponential moving average of weights, None for none. The first steps
            decay faster, so that a short run is not an average over its beginning.
        validate: gives a loss for a model in evaluation mode.
        validate_every: steps between two calls of `validate`.

    Raises:
        TrainingDiverged: a loss became NaN or infinite; the message names loss and step.
    """

    def update_one(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
        losses = update(lambda: draw().squeeze(0))
        return {name: loss.unsqueeze(0) for name, loss in losses.items()}

    def validate_one() -> Tensor:
        assert validate is not None
        return torch.tensor([validate(model)])

    _run(
        Loop(model, optimisers, schedulers, ema_decay, steps, [log]),
        update_one,
        data=data,
        batch_size=batch_size,
        sample=None if sample is None else lambda n: sample(n).unsqueeze(0),
        validate=None if validate is None else validate_one,
        validate_every=validate_every,
    )


def train_together(
    model: nn.Module,
    update: Update,
    *,
    logs: Sequence[Log],
    optimisers: Sequence[Optimizer],
    data: Tensor,
    steps: int,
    batch_size: int,
    sample: Callable[[int], Tensor] | None = None,
    schedulers: Sequence[LRScheduler] = (),
    ema_decay: float | None = None,
    validate: Callable[[], Tensor] | None = None,
    validate_every: int = VALIDATE_EVERY,
) -> None:
    """Trains S copies that are stacked in `model`, as `train` trains one, each with its own log.

    Sum the losses over the copies before the backward pass: parameters are their own, so each
    gets its own gradient. A copy whose losses stop being finite goes on as it may without
    disturbing the others; its log takes no more rows and is told in the end.

    Args:
        model: holds the weights of all copies, in `zoo.together.Together` for example.
        update: as for `train`, with batches [S, batch_size, *shape] and losses [S]. Batches are
            drawn for each copy on its own.
        logs: S of them; the first one's folder holds the checkpoint of all.
        optimisers: as for `train`, and so are
        data: [n, *shape],
        steps: and
        batch_size: of each copy.
        sample: draws [S, n, *shape].
        schedulers: as for `train`.
        ema_decay: the same.
        validate: gives the losses [S] of the copies, which are in evaluation mode and have their
            averaged weights meanwhile; each ends with those weights that had its lowest.
        validate_every: as for `train`.

    Raises:
        TrainingDiverged: there is only one copy, and a loss became NaN or infinite.
    """
    _run(
        Loop(model, optimisers, schedulers, ema_decay, steps, logs),
        update,
        data=data,
        batch_size=batch_size,
        sample=sample,
        validate=validate,
        validate_every=validate_every,
    )


def _run(
    running: Loop,
    update: Update,
    *,
    data: Tensor,
    batch_size: int,
    sample: Callable[[int], Tensor] | None,
    validate: Callable[[], Tensor] | None,
    validate_every: int,
) -> None:
    running.resume()
    autocast = _autocast(data.device, running.logs[0].precision)

    def draw() -> Tensor:
        shape = (len(running.logs), batch_size)
        return data[torch.randint(len(data), shape, device=data.device)]

    running.model.train()
    if sample is not None and running.step == 0:
        running.snapshot(sample)
    while not running.is_over:
        with autocast():
            losses = update(draw)
        running.advance(losses)
        if validate is not None and (running.step % validate_every == 0 or running.is_over):
            running.keep_best(validate)
        if sample is not None:
            running.snapshot(sample)
        if running.step % loop.FLUSH_STEPS == 0 or running.is_over:
            running.flush()
    running.finish()


def _autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager]:
    if precision == "32-true":
        return nullcontext
    if precision != "bf16-mixed":
        raise ValueError(f"precision must be '32-true' or 'bf16-mixed', got {precision!r}")
    from lightning_fabric import Fabric  # takes seconds to import: only those pay who need it

    return Fabric(accelerator=device.type, devices=1, precision="bf16-mixed").autocast
