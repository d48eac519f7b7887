"""Log-likelihood of held-out examples: exact where the model has a density, else a bound.

Images are discrete, so their values are log-masses in nats and bits per sub-pixel; points are
continuous, so theirs are log-densities in nats. The two never share a column.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmark.estimators.importance import importance_weighted_bound
from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.randomness import derive_seed, fork_rng
from benchmark.spec import BoundedDensity, Density, Encoder, LatentModel
from benchmark.store import Meaning

TIGHTEST = 1_000


def nll(evidence: Evidence) -> Measurement:
    """Mean negative log-likelihood of the test split, nats; an upper bound for latent models."""
    values, meaning = _tightest(evidence)
    return _mean(-values, "exact" if meaning == "exact" else "upper bound")


def bits_per_dim(evidence: Evidence) -> Measurement:
    """The same in bits per sub-pixel: nats / (dims ln 2). Never negative, since x is discrete."""
    if not evidence.spec.is_image:
        raise NotApplicable("points are continuous: a density has no bits per dimension, see nll")
    values, meaning = _tightest(evidence)
    bits = -values / (evidence.spec.dims * math.log(2))
    return _mean(bits, "exact" if meaning == "exact" else "upper bound")


def elbo(evidence: Evidence) -> Measurement:
    """Mean evidence lower bound, nats: the model's own, or with one importance sample."""
    if isinstance(evidence.model, BoundedDensity):
        return _mean(_own_bound(evidence), "lower bound")
    return _mean(_importance_weighted(evidence, 1), "lower bound")


def iwae_50(evidence: Evidence) -> Measurement:
    """Mean importance-weighted bound with 50 samples of z, nats."""
    return _mean(_importance_weighted(evidence, 50), "lower bound")


def iwae(evidence: Evidence) -> Measurement:
    """Mean importance-weighted bound with 1,000 samples of z, nats."""
    return _mean(_importance_weighted(evidence, TIGHTEST), "lower bound")


def _tightest(evidence: Evidence) -> tuple[Tensor, Meaning]:
    """[t] log p(x) of the test split in nats, exact if it can be, else its best lower bound."""
    model = evidence.model
    if isinstance(model, Density):
        return _over_batches(evidence, model.log_prob, "log_prob"), "exact"
    if isinstance(model, LatentModel) and isinstance(model, Encoder):
        return _importance_weighted(evidence, TIGHTEST), "lower bound"
    if isinstance(model, BoundedDensity):
        return _own_bound(evidence), "lower bound"
    raise NotApplicable("the model gives samples only: it has no log_prob, bound or decoder")


def _own_bound(evidence: Evidence) -> Tensor:
    assert isinstance(evidence.model, BoundedDensity)
    return _over_batches(evidence, evidence.model.log_prob_bound, "elbo")


def _importance_weighted(evidence: Evidence, samples: int) -> Tensor:
    model = evidence.model
    if isinstance(model, Density):
        raise NotApplicable("log p(x) is exact, so no bound is needed: see nll")
    if not (isinstance(model, LatentModel) and isinstance(model, Encoder)):
        raise NotApplicable("the model has no decoder density with an encoder to propose from")

    def bound(x: Tensor) -> Tensor:
        return importance_weighted_bound(model, x, model.encode(x), samples)

    return _over_batches(evidence, bound, f"iwae {samples}")


def _over_batches(evidence: Evidence, function: Callable[[Tensor], Tensor], name: str) -> Tensor:
    """Applies a function of x to the test split, batch by batch under its own seed, once."""
    if name in evidence.shared:
        return evidence.shared[name]
    seed = derive_seed(name, evidence.seed)
    with fork_rng(seed), torch.no_grad():
        parts = [
            function(batch.to(evidence.device)).double().cpu()
            for batch in evidence.test.split(evidence.batch_size)
        ]
    values = torch.cat(parts)
    if values.shape != evidence.test.shape[:1]:
        raise ValueError(
            f"{name} gave {list(values.shape)} values for {len(evidence.test)} examples"
        )
    unusable = int((~values.isfinite()).sum())
    if unusable:
        raise ValueError(f"{name} is not finite for {unusable} of {len(values)} test examples")
    evidence.shared[name] = values
    return values


def _mean(values: Tensor, meaning: Meaning) -> Measurement:
    error = (values.std() / math.sqrt(len(values))).item()
    value = values.mean().item()
    return Measurement(
        value,
        n=len(values),
        standard_error=error,
        low=value - 1.96 * error,
        high=value + 1.96 * error,
        meaning=meaning,
        per_example=values.numpy().astype(np.float32),
    )
