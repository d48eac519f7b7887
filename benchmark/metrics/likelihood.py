"""Log-likelihood of held-out examples: exact where the model has a density, else a bound.

Images are discrete, so their values are log-masses in nats and bits per sub-pixel; points are
continuous, so theirs are log-densities in nats. The two never share a column.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.estimators.importance import importance_weighted_bound
from benchmark.metrics.annealing import annealed
from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.integration import accuracy, integrated
from benchmark.metrics.latent import latent_model
from benchmark.randomness import derive_seed, fork_rng
from benchmark.spec import BoundedDensity, Density, Encoder, Generator, LatentModel
from benchmark.store import Meaning

TIGHTEST = 1_000


def nll(evidence: Evidence) -> Measurement:
    """Mean negative log-likelihood of the test split, nats."""
    values, meaning = tightest(evidence, "test")
    return Measurement.mean_of(-values, meaning, accuracy(evidence))


def bits_per_dim(evidence: Evidence) -> Measurement:
    """The same in bits per sub-pixel: nats / (dims ln 2). Never negative, since x is discrete."""
    if not evidence.spec.is_image:
        raise NotApplicable(
            "the data are continuous: a density has no bits per dimension, see nll"
        )
    values, meaning = tightest(evidence, "test")
    return Measurement.mean_of(-values / (evidence.spec.dims * math.log(2)), meaning)


def train_test_gap(evidence: Evidence) -> Measurement:
    """NLL of test less NLL of training examples, by the same estimator, nats.

    Near zero for a model that has learnt the distribution, large for one that has learnt the
    training set.
    """
    test, meaning = tightest(evidence, "test")
    train, _ = tightest(evidence, "train")
    error = math.hypot(*(part.std().item() / math.sqrt(len(part)) for part in (test, train)))
    gap = train.mean().item() - test.mean().item()
    kind: Meaning = "exact" if meaning == "exact" else "estimate"
    return Measurement.with_error(gap, error, min(len(test), len(train)), kind)


def elbo(evidence: Evidence) -> Measurement:
    """Mean evidence lower bound, nats: the model's own, or with one importance sample."""
    if isinstance(evidence.model, BoundedDensity):
        return Measurement.mean_of(_own_bound(evidence), "lower bound")
    return Measurement.mean_of(_importance_weighted(evidence, 1), "lower bound")


def iwae_50(evidence: Evidence) -> Measurement:
    """Mean importance-weighted bound with 50 samples of z, nats."""
    return Measurement.mean_of(_importance_weighted(evidence, 50), "lower bound")


def iwae(evidence: Evidence) -> Measurement:
    """Mean importance-weighted bound with 1,000 samples of z, nats."""
    return Measurement.mean_of(_importance_weighted(evidence, TIGHTEST), "lower bound")


def tightest(evidence: Evidence, split: str) -> tuple[Tensor, Meaning]:
    """[t] log p(x) in nats and what minus it is to the NLL.

    Exact if it can be, by the model's density or by integration over its latents; else the
    annealed bound, whose gap to the truth is measured on simulated data; else whatever bound the
    model has.
    """
    model = evidence.model
    if isinstance(model, Density):
        return _over_batches(evidence, model.log_prob, "log_prob", split), "exact"
    if isinstance(model, LatentModel | Generator):
        if (found := integrated(evidence, split)) is not None:
            return found.cpu(), "exact"
        return annealed(evidence, split).lower_bound.cpu(), "sandwich"
    if isinstance(model, BoundedDensity):
        return _own_bound(evidence, split), "upper bound"
    raise NotApplicable("the model gives samples only: it has no log_prob, bound or decoder")


def _own_bound(evidence: Evidence, split: str = "test") -> Tensor:
    assert isinstance(evidence.model, BoundedDensity)
    return _over_batches(evidence, evidence.model.log_prob_bound, "elbo", split)


def _importance_weighted(evidence: Evidence, samples: int) -> Tensor:
    model = latent_model(evidence)
    if not isinstance(model, Encoder):
        raise NotApplicable("the model has no encoder to propose latents: see AIS")

    def bound(x: Tensor) -> Tensor:
        return importance_weighted_bound(model, x, model.encode(x), samples)

    return _over_batches(evidence, bound, f"iwae {samples}")


def _over_batches(
    evidence: Evidence, function: Callable[[Tensor], Tensor], name: str, split: str = "test"
) -> Tensor:
    """Applies a function of x to a split, batch by batch under its own seed, once."""
    if split == "test":
        examples = evidence.test
    elif evidence.train is not None:
        examples = evidence.train[: len(evidence.test)]
    else:
        raise NotApplicable("there is no training split to compare with")
    key = f"{name} {split}"
    if key in evidence.shared:
        return evidence.shared[key]
    seed = derive_seed(name if split == "test" else key, evidence.seed)
    with fork_rng(seed), torch.no_grad():
        parts = [
            function(batch.to(evidence.device)).double().cpu()
            for batch in examples.split(evidence.batch_size)
        ]
    values = torch.cat(parts)
    if values.shape != examples.shape[:1]:
        raise ValueError(f"{name} gave {list(values.shape)} values for {len(examples)} examples")
    unusable = int((~values.isfinite()).sum())
    if unusable:
        raise ValueError(f"{name} is not finite for {unusable} of {len(values)} {split} examples")
    evidence.shared[key] = values
    return values
