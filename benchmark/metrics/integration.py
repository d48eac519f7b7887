"""log p(x) of models with one or two latents: integrated, with its accuracy measured.

Generators get the same observation model as for annealing: noise whose sigma is fitted.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.estimators.quadrature import Integral, TooIntricate, can_integrate, integrate
from benchmark.metrics.base import Evidence, NotApplicable
from benchmark.metrics.latent import latent_model
from benchmark.spec import Density, Generator, LatentModel

CHECKED = 20  # examples that are integrated a second time, more finely
FINER = 0.5
TEST_TO_TRAIN = 4  # test examples for each training example, of which only the gap is wanted
NOTABLE = 0.1  # nats of error that a table mentions


def integral(evidence: Evidence) -> Integral | None:
    """Log p(x) over test examples and after them some of training; None if not to be had so.

    That is where the suite does not ask for it, where the model has a density of its own or no
    latents, more than two, or noise that is not normal, and where it would take too long. Both
    splits are integrated at once, for most of the work is to decode cells that they share.
    """
    if "integral" not in evidence.shared:
        evidence.shared["integral"] = _integrated(evidence)
    return evidence.shared["integral"]


def integrated(evidence: Evidence, split: str) -> Tensor | None:
    """Log p(x) [t] of a split's examples, None where there is no integral.

    Raises:
        NotApplicable: there is no training split.
    """
    found = integral(evidence)
    if found is None:
        return None
    if split == "train" and evidence.train is None:
        raise NotApplicable("there is no training split to compare with")
    tested = len(evidence.test)
    return found.log_prob[:tested] if split == "test" else found.log_prob[tested:]


def accuracy(evidence: Evidence) -> dict[str, Any]:
    """For the details of a value that rests on integrals, if any does.

    `error` is the largest estimated error of an example, nats; `checked` the largest difference
    among the first CHECKED examples to integrals from cells half as large at first; `cells` and
    `pairs` say how much work it was.
    """
    found = integral(evidence)
    if found is None:
        return {}
    if "integral check" not in evidence.shared:
        some = evidence.test[:CHECKED].to(evidence.device)
        finer = integrate(latent_model(evidence), some, finer=FINER)
        differences = (finer.log_prob - found.log_prob[: len(some)]).abs()
        evidence.shared["integral check"] = differences.max().item()
    error, checked = found.error.max().item(), evidence.shared["integral check"]
    work = {"cells": found.cells, "pairs": found.pairs}
    details: dict[str, Any] = {"quadrature": {"error": error, "checked": checked, **work}}
    if max(error, checked) > NOTABLE:
        details["remark"] = (
            f"log p(x) integrated over latents is off by up to {max(error, checked):.1f} nats"
        )
    return details


def refuse_where_integrated(evidence: Evidence) -> None:
    """Refuses what is asked of annealing.

    Raises:
        NotApplicable: log p(x) is integrated, so that nothing is annealed.
    """
    if integral(evidence) is not None:
        raise NotApplicable("log p(x) is integrated over the latents, so nothing is annealed")


def _integrated(evidence: Evidence) -> Integral | None:
    model = evidence.model
    if not evidence.quadrature or isinstance(model, Density):
        return None
    if not isinstance(model, LatentModel | Generator):
        return None
    latent = latent_model(evidence)
    if not can_integrate(latent):
        return None
    x = evidence.test
    if evidence.train is not None:
        x = torch.cat([x, evidence.train[: max(2, len(x) // TEST_TO_TRAIN)]])
    try:
        return integrate(latent, x.to(evidence.device), partial(evidence.progress, "integrating"))
    except TooIntricate:
        return None
