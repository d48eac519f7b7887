"""What a check is, and the few words that all checks are written in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.models import classes_of
from benchmark.spec import Trainable
from benchmark.training_log import TrainingLog

BUDGET = 0.002  # of the training length: enough to leave the initial weights


@dataclass(frozen=True)
class Check:
    """One promise: kept, broken (False), or not one that this model makes (None)."""

    promise: str
    kept: bool | None
    seen: str


class NotPromised(Exception):
    """The model does not claim this capability; the message says what is missing."""


def attempt(promise: str, look: Callable[[], str]) -> Check:
    try:
        return Check(promise, True, look())
    except NotPromised as reason:
        return Check(promise, None, str(reason))
    except Exception as error:
        return Check(promise, False, line(error))


def line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def require(kept: bool, complaint: str) -> None:
    if not kept:
        raise ValueError(complaint)


def claims(model: object, protocol: type, method: str) -> None:
    if not isinstance(model, protocol):
        raise NotPromised(f"has no {method}")


def fit(model: Any, train: Tensor, validation: Tensor) -> None:
    """Trains for a moment, keeping nothing; labels, where the model learns any, are arbitrary."""
    classes = classes_of(model)
    log = TrainingLog(None, "32-true")
    if classes:
        of_train, of_validation = (torch.arange(len(x)) % classes for x in (train, validation))
        model.fit(train, validation, BUDGET, log, (of_train, of_validation))
    elif isinstance(model, Trainable):
        model.fit(train, validation, BUDGET, log)
    if isinstance(model, nn.Module):
        model.eval()
