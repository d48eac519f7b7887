"""log p(x) of models with latent variables, by annealed importance sampling."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from benchmark.estimators.ais import Chains
from benchmark.estimators.bdmc import (
    Sandwich,
    Settings,
    annealed_lower_bound,
    best_start,
    sandwiches,
)
from benchmark.estimators.schedule import shorter_runs
from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.integration import refuse_where_integrated
from benchmark.metrics.latent import latent_model
from benchmark.randomness import derive_seed, fork_rng

VALIDATION = 100  # of the last examples of the split; sigma is fitted on the first
HISTOGRAM = np.linspace(-8, 4, 49)  # of log weights less the log of their mean, nats


def ais(evidence: Evidence) -> Measurement:
    """Mean lower bound on log p(x) over test examples, nats."""
    return Measurement.mean_of(annealed(evidence, "test").lower_bound, "lower bound")


def ais_train(evidence: Evidence) -> Measurement:
    """The same over training examples."""
    return Measurement.mean_of(annealed(evidence, "train").lower_bound, "lower bound")


def bdmc_gap(evidence: Evidence) -> Measurement:
    """Upper less lower bound on examples that the model itself drew, nats, their mean.

    Source: Wu et al. 2017, arXiv:1611.04273, section 3.
    """
    refuse_where_integrated(evidence)
    runs = _sandwiches(evidence)
    full = runs[-1]
    details = {
        "curve": _curve(runs),
        "start": _settings(evidence).start,
        "acceptance": full.forward.acceptance.mean().item(),
        "divergences": full.forward.divergences.mean().item(),
        "energy_error": full.forward.energy_error.mean().item(),
        "weight_histogram": _histogram(full.forward),
    }
    return Measurement.mean_of(full.gaps, details=details)


def effective_chains(evidence: Evidence) -> Measurement:
    """Mean over test examples of the effective number of chains."""
    refuse_where_integrated(evidence)
    return Measurement.mean_of(annealed(evidence, "test").effective_chains)


def annealed(evidence: Evidence, split: str) -> Chains:
    """Chains of the first examples of a split, run once."""
    key = f"annealed {split}"
    if key not in evidence.shared:
        model, settings = latent_model(evidence), _settings(evidence)
        counts = evidence.annealing
        if split == "test":
            x = evidence.test[: counts.examples]
        elif evidence.train is not None:
            x = evidence.train[: counts.train_examples]
        else:
            raise NotApplicable("there is no training split to compare with")
        with fork_rng(derive_seed(key, evidence.seed)):
            evidence.shared[key] = annealed_lower_bound(
                model, x.to(evidence.device), settings, partial(evidence.progress, "annealing")
            )
    return evidence.shared[key]


def _settings(evidence: Evidence) -> Settings:
    """What the suite asks for; the start chosen on validation data where it is left open."""
    wanted = evidence.annealing
    settings = Settings(
        wanted.chains,
        wanted.temperatures,
        wanted.leapfrog,
        wanted.start,
        wanted.schedule,
        prior_draws=wanted.prior_draws,
    )
    if wanted.start != "auto":
        return settings
    if "start" not in evidence.shared:
        if evidence.validation is None:
            raise NotApplicable("there is no validation split to choose a start with")
        model, held_out = latent_model(evidence), evidence.validation[-VALIDATION:]
        with fork_rng(derive_seed("start", evidence.seed)):
            held_out = held_out.to(evidence.device)
            evidence.shared["start"] = best_start(model, held_out, settings)
    return replace(settings, start=evidence.shared["start"])


def _sandwiches(evidence: Evidence) -> list[Sandwich]:
    if "sandwiches" not in evidence.shared:
        model, settings = latent_model(evidence), _settings(evidence)
        lengths = shorter_runs(settings.temperatures)
        with fork_rng(derive_seed("bdmc", evidence.seed)):
            count = evidence.annealing.simulated
            evidence.shared["sandwiches"] = sandwiches(
                model, count, settings, lengths, partial(evidence.progress, "bidirectional")
            )
    return evidence.shared["sandwiches"]


def _curve(runs: list[Sandwich]) -> dict[str, list[float]]:
    """Both bounds against the number of temperatures: means over simulated examples.

    The errors are those of the distance to the middle of the longest run's bounds, example by
    example: how much examples differ from each other says nothing about how bounds close.
    """
    lower = [run.forward.lower_bound for run in runs]
    upper = [run.backward.upper_bound for run in runs]
    middle = (lower[-1] + upper[-1]) / 2
    return {
        "temperatures": [run.temperatures for run in runs],
        "lower": [bound.mean().item() for bound in lower],
        "lower_error": [_error(bound - middle) for bound in lower],
        "upper": [bound.mean().item() for bound in upper],
        "upper_error": [_error(bound - middle) for bound in upper],
    }


def _error(values: Tensor) -> float:
    return (values.std() / math.sqrt(len(values))).item()


def _histogram(chains: Chains) -> dict[str, list[float]]:
    """Counts of log weights around each example's own log mean weight."""
    centred = chains.log_weights - chains.lower_bound.unsqueeze(1)
    values = centred.cpu().numpy().clip(HISTOGRAM[0], HISTOGRAM[-1])
    counts, edges = np.histogram(values, HISTOGRAM)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
