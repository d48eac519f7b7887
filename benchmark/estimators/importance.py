"""Importance-weighted bounds on log p(x) for latent-variable models."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from benchmark.spec import LatentModel

# Decoder evaluations at once: they bound memory whatever k and n are. A processor works fastest
# on what fits its cache, a GPU on what fills it.
EVALUATIONS = {"cpu": 500, "cuda": 20_000}


def importance_weighted_bound(
    model: LatentModel, x: Tensor, proposal: Distribution, samples: int
) -> Tensor:
    """A stochastic lower bound on log p(x) that tightens as `samples` grows.

    Args:
        model: gives p(z) and p(x given z).
        x: [n, *shape] data.
        proposal: q(z given x), batched over the n data.
        samples: draws of z for each datum (k in the source).

    Returns:
        [n] nats, equal to log p(x) for any `samples` if the proposal is the posterior.

    Source: Burda et al. 2016, arXiv:1509.00519, eq. 8.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    chunk = max(1, EVALUATIONS[x.device.type] // max(1, len(x)))
    parts = [
        _log_weights(model, x, proposal, min(chunk, samples - start)).logsumexp(dim=0)
        for start in range(0, samples, chunk)
    ]
    return torch.stack(parts).logsumexp(dim=0) - math.log(samples)


def _log_weights(model: LatentModel, x: Tensor, proposal: Distribution, samples: int) -> Tensor:
    """[samples, n] log p(x, z) - log q(z given x)."""
    z = proposal.sample(torch.Size((samples,)))  # [samples, n, latents]
    log_joint = model.prior().log_prob(z) + model.decode(z).log_prob(x)
    return (log_joint - proposal.log_prob(z)).double()
