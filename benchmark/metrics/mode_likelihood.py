"""The likelihood side of mode coverage: what a model loses on the examples of each true mode.

A model with a density of its own gives little to a mode that it misses, so that the examples
there become improbable, by any number of nats, while the mean over all examples may look fair.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, KnownMixture, Measurement, NotApplicable
from benchmark.metrics.likelihood import tightest
from benchmark.randomness import generator

FEW = 5  # examples of a mode, of which the mean gap is hardly known


def worst_mode_gap(evidence: Evidence) -> Measurement:
    """The largest over modes of the mean true less the model's log-density, nats.

    Of the test examples whose likelihood `nll` takes, and as exact as that is: an upper bound
    where the model's log-density is bounded from below. Zero for the true density. The largest
    of noisy means is too large on average, the more the fewer examples a mode has; the details
    hold all of them, with the numbers of examples, the weights of the modes and the mean over the
    whole set. Modes of which there is no example cannot be judged, and those with few hardly; the
    `remark` of the details counts these.
    """
    modes = evidence.modes
    if not isinstance(modes, KnownMixture):
        raise NotApplicable(
            "the true density is not known: the data set is no mixture of Gaussians"
        )
    log_prob, meaning = tightest(evidence, "test")
    examples = evidence.test[: len(log_prob)].cpu()
    gaps, mode = modes.log_prob(examples) - log_prob, modes.assign(examples).mode
    means, counts = means_by_group(torch.stack([gaps, mode], dim=1), groups=len(modes.weights))
    measured = Measurement.of_statistic(
        partial(_largest, modes=len(modes.weights)),
        drawn=generator("worst_mode_gap", evidence.seed),
        n=len(gaps),
        details={
            "gaps": [None if gap.isnan() else gap.item() for gap in means],
            "examples": counts.tolist(),
            "weights": modes.weights.tolist(),
            "overall": gaps.mean().item(),
            **remark_on(counts, "mode"),
        },
        examples=torch.stack([gaps, mode], dim=1),
    )
    return replace(measured, meaning=meaning)


def means_by_group(examples: Tensor, *, groups: int) -> tuple[Tensor, Tensor]:
    """Mean value of the examples of each mode or class, and how many it has.

    Args:
        examples: [n, 2] the value of each example, and the number of its group.
        groups: how many there are (k).

    Returns:
        [k] means, NaN where a group has no example, and [k] counts.
    """
    values, group = examples[:, 0], examples[:, 1].long()
    counts = torch.bincount(group, minlength=groups)
    return torch.bincount(group, weights=values, minlength=groups) / counts, counts


def remark_on(counts: Tensor, group: str) -> dict[str, str]:
    """A `remark` for the details that says how many groups have too few examples, if any has.

    Args:
        counts: [k] examples of each.
        group: what one is called, and several with an "s" or "es".
    """
    few = int((counts < FEW).sum())
    if not few:
        return {}
    several = f"{group}es" if group.endswith("s") else f"{group}s"
    number = f"one {group} has" if few == 1 else f"{few} {several} have"
    examples = int(counts.sum())
    return {"remark": f"{number} fewer than {FEW} of {examples:,} test examples"}


def _largest(*, examples: Tensor, modes: int) -> float:
    means, _ = means_by_group(examples, groups=modes)
    return means[~means.isnan()].max().item()
