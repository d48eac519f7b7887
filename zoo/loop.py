"""What training keeps between steps: losses on their way to the logs, averages, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from benchmark.spec import Log, TrainingDiverged

FLUSH_STEPS = 50  # losses stay on the device for so many steps, so that a GPU is not kept waiting
CHECKPOINT_SECONDS = 15.0


class Loop:
    """The state of S copies in training that a checkpoint holds, and what a step does to it.

    Args:
        model: all that is averaged and saved; holds the weights of all copies.
        logs: one for each copy. The first one's folder holds the checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        optimisers: Sequence[Optimizer],
        schedulers: Sequence[LRScheduler],
        ema_decay: float | None,
        steps: int,
        logs: Sequence[Log],
    ) -> None:
        self.model, self.optimisers, self.schedulers = model, optimisers, schedulers
        self.steps, self.logs = steps, logs
        self.ema_decay = ema_decay
        self.average = deepcopy(model) if ema_decay is not None else None
        self.step = 0
        self.best_losses = torch.full((len(logs),), math.inf)
        self.best_state: dict[str, Tensor] | None = None
        self.diverged: dict[int, TrainingDiverged] = {}
        self.pending: list[tuple[int, Mapping[str, Tensor]]] = []
        self.saved_at = time.monotonic()

    @property
    def path(self) -> Path | None:
        folder = self.logs[0].folder
        return folder / "training.pt" if folder else None

    @property
    def _members(self) -> list[str]:
        """Which copies these are: a checkpoint of as many others is not theirs."""
        return [log.folder.name if log.folder else "" for log in self.logs]

    @property
    def is_over(self) -> bool:
        return self.step >= self.steps or len(self.diverged) == len(self.logs)

    @property
    def candidate(self) -> nn.Module:
        """The model as it would be used if training ended now."""
        return self.average if self.average is not None else self.model

    def advance(self, losses: Mapping[str, Tensor]) -> None:
        """Counts a step that gave the losses {name: [S]}."""
        self.step += 1
        for scheduler in self.schedulers:
            scheduler.step()
        if self.average is not None and self.ema_decay is not None:
            _move(self.average, self.model, _ramped_share(self.ema_decay, self.step))
        self.pending.append((self.step, {name: loss.detach() for name, loss in losses.items()}))

    def snapshot(self, sample: Callable[[int], Tensor]) -> None:
        """Offers every log a look at its copy; `sample(n)` gives [S, n, *shape]."""

        @cache
        def drawn(n: int) -> Tensor:
            if len(self.logs) == 1 and not _all_finite(self.candidate):
                return torch.full((1, n), math.nan)  # the next loss ends this training
            with torch.no_grad(), self._as_candidate():
                return sample(n)

        for copy, log in enumerate(self.logs):
            if copy not in self.diverged:
                log.snapshot(self.step, self.steps, partial(_one_of, drawn, copy))

    @contextmanager
    def _as_candidate(self) -> Iterator[None]:
        """Lends the model the averaged weights, in evaluation mode."""
        with _borrowed(self.model, self.candidate):
            self.model.eval()
            yield
        self.model.train()

    def keep_best(self, validate: Callable[[], Tensor]) -> None:
        """Keeps the averaged weights of the copies whose losses `validate()` [S] are their lowest.

        Parameters of several copies are stacked along their first axis, as in `zoo.together`.
        """
        with torch.no_grad(), self._as_candidate():
            losses = validate().detach().cpu()
        better = losses < self.best_losses
        state = self.candidate.state_dict()
        if self.best_state is None:
            self.best_state = {name: value.detach().clone() for name, value in state.items()}
        elif better.any():
            chosen = better.nonzero().squeeze(1) if len(self.logs) > 1 else ...
            for name, value in state.items():
                self.best_state[name][chosen] = value[chosen]
        self.best_losses = torch.where(better, losses, self.best_losses)

    def flush(self) -> None:
        """Hands the pending losses to the logs, and saves a checkpoint when it is time.

        Raises:
            TrainingDiverged: the losses of the only copy are no longer finite.
        """
        names = list(self.pending[0][1]) if self.pending else []
        rows = [torch.stack([row[name].float() for name in names]) for _, row in self.pending]
        table = torch.stack(rows).tolist()  # [steps][names][S]
        for (step, _), losses in zip(self.pending, table, strict=True):
            for copy, values in enumerate(zip(*losses, strict=True)):
                self._report(copy, step, dict(zip(names, values, strict=True)))
        self.pending.clear()
        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS and not self.is_over:
            self.save()

    def _report(self, copy: int, step: int, losses: dict[str, float]) -> None:
        if copy in self.diverged:
            return
        for name, value in losses.items():
            if not math.isfinite(value):
                self.diverged[copy] = TrainingDiverged(name, value, step, self.steps)
                if len(self.logs) == 1:
                    raise self.diverged[copy]
                return
        self.logs[copy](step, self.steps, **losses)

    def save(self) -> None:
        if self.path is None:
            return
        state = {
            "steps": self.steps,
            "members": self._members,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "average": self.average.state_dict() if self.average is not None else None,
            "best_losses": self.best_losses,
            "best_state": self.best_state,
            "diverged": {copy: _told(error) for copy, error in self.diverged.items()},
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        temporary = self.path.with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(self.path)
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one of as many steps and the same copies."""
        if self.path is None or not self.path.exists():
            return
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        if (state["steps"], state["members"]) != (self.steps, self._members):
            return
        self.step, self.best_losses = state["step"], state["best_losses"]
        self.best_state = state["best_state"]
        self.diverged = {
            copy: TrainingDiverged(loss, value, step, self.steps)
            for copy, (loss, value, step) in state["diverged"].items()
        }
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
        """Leaves the model with its final weights, and tells the logs of copies that diverged."""
        final = self.best_state if self.best_state is not None else self.candidate.state_dict()
        self.model.load_state_dict(final)
        self.model.eval()
        for copy, error in self.diverged.items():
            self.logs[copy].diverged(error.step, error.steps, error.loss, error.value)


def _one_of(drawn: Callable[[int], Tensor], copy: int, n: int) -> Tensor:
    return drawn(n)[copy]


def _all_finite(model: nn.Module) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def _told(error: TrainingDiverged) -> tuple[str, float, int]:
    return error.loss, error.value, error.step


@contextmanager
def _borrowed(model: nn.Module, lender: nn.Module) -> Iterator[None]:
    """Gives `model` the parameters' values of `lender` for a while."""
    if lender is model:
        yield
        return
    ours = [parameter.data for parameter in model.parameters()]
    try:
        for mine, lent in zip(model.parameters(), lender.parameters(), strict=True):
            mine.data = lent.data
        yield
    finally:
        for mine, data in zip(model.parameters(), ours, strict=True):
            mine.data = data


def _ramped_share(decay: float, step: int) -> float:
    """Of step `step` (the first is 1) in the average: large at first, in the end 1 - decay."""
    return 1.0 if step == 1 else max(1 - decay, 9 / (9 + step))


@torch.no_grad()
def _move(average: nn.Module, current: nn.Module, share: float) -> None:
    """Moves the averaged parameters by a share of the way to the current ones; copies buffers."""
    torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), share)
    for ours, theirs in zip(average.buffers(), current.buffers(), strict=True):
        ours.copy_(theirs)
