"""The likelihood of each class: where a model that misses a mode shows it, with labels alone.

The classes of images are the modes that one can name. A class that a model has not learnt gets a
likelihood far below the others'; but classes also differ in how hard they are, so that the gap of
a model is to be read beside that of one that has seen all of them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.likelihood import tightest
from benchmark.metrics.mode_likelihood import means_by_group, remark_on
from benchmark.randomness import generator
from benchmark.store import Meaning


def worst_class_gap(evidence: Evidence) -> Measurement:
    """The largest over classes of how far their mean log-likelihood lies below that of all, nats.

    Of the test examples whose likelihood `nll` takes: exact where that is, else an estimate. At
    least 0. The details hold the mean log-likelihood of every class with its standard error, how
    many test examples it has and how many the model could learn from; a class without a test
    example cannot be judged, and one with few hardly, which the `remark` counts.
    """
    if evidence.test_labels is None:
        raise NotApplicable("the examples have no classes")
    log_prob, meaning = tightest(evidence, "test")
    labels = evidence.test_labels[: len(log_prob)].cpu()
    classes = int(evidence.test_labels.max()) + 1
    details = {
        **_by_class([log_prob[labels == each] for each in range(classes)]),
        "overall": log_prob.mean().item(),
        "meaning": _of_log_likelihood(meaning),
        **remark_on(torch.bincount(labels, minlength=classes), "class"),
    }
    if (learnt := evidence.train_labels) is not None:
        details["train_examples"] = torch.bincount(learnt.cpu(), minlength=classes).tolist()
    measured = Measurement.of_statistic(
        partial(_largest, classes=classes),
        drawn=generator("worst_class_gap", evidence.seed),
        n=len(log_prob),
        lowest=0.0,
        details=details,
        examples=torch.stack([log_prob, labels], dim=1),
    )
    return replace(measured, meaning="exact" if meaning == "exact" else "estimate")


def _by_class(parts: Sequence[Tensor]) -> dict[str, Any]:
    """Mean and standard error of each class, None where it has too few examples for them."""
    return {
        "log_likelihood": [part.mean().item() if len(part) else None for part in parts],
        "standard_errors": [
            part.std().item() / math.sqrt(len(part)) if len(part) > 1 else None for part in parts
        ],
        "examples": [len(part) for part in parts],
    }


def _of_log_likelihood(meaning: Meaning) -> Meaning:
    """What a log-likelihood is to the truth, given what minus it is."""
    return "lower bound" if meaning == "upper bound" else meaning


def _largest(*, examples: Tensor, classes: int) -> float:
    means, _ = means_by_group(examples, groups=classes)
    return (examples[:, 0].mean() - means[~means.isnan()].min()).item()
