"""Annealed importance sampling as it is usually written: the reference that others are judged by.

Every energy is computed where the formula asks for it, gradients by automatic differentiation of
the whole energy, the schedule is linear, and each chain's step size follows its own acceptance.
Because that adaptation looks at the weighted chain itself, the bound holds only approximately.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from benchmark.spec import LatentModel

FIRST_STEP, LEAST_STEP, GREATEST_STEP = 0.01, 1e-4, 0.5
TARGET_ACCEPTANCE = 0.65
GROWTH, SHRINKAGE = 1.02, 0.98


@dataclass(frozen=True)
class PlainChains:
    """Log weights [chains, n] of one direction, and the mean acceptance over all steps."""

    log_weights: Tensor
    acceptance: float


def plain_forward(
    model: LatentModel, x: Tensor, *, chains: int, temperatures: int, leapfrog: int
) -> PlainChains:
    """Chains from the prior to the posterior; log-mean-exp of their weights is a lower bound.

    Args:
        model: gives p(z) and p(x given z).
        x: [n, *shape] data.
        chains: for each datum.
        temperatures: steps of the linear schedule.
        leapfrog: steps of a trajectory, one trajectory a temperature.

    Source: Neal 2001, "Annealed importance sampling", eqs. 2-11; Wu et al. 2017, arXiv:1611.04273,
    section 3 for the choices.
    """
    start = model.prior().sample(torch.Size((chains, len(x))))
    betas = torch.linspace(0, 1, temperatures + 1).tolist()
    return _anneal(model, x, start, betas, leapfrog)


def plain_reverse(
    model: LatentModel, x: Tensor, z: Tensor, *, temperatures: int, leapfrog: int
) -> PlainChains:
    """Chains from exact posterior samples z [chains, n, latents] back to the prior.

    Minus the mean of their log weights is an upper bound on log p(x).

    Source: Grosse et al. 2016, arXiv:1606.02275, section 3.
    """
    betas = torch.linspace(1, 0, temperatures + 1).tolist()
    return _anneal(model, x, z, betas, leapfrog)


def _anneal(
    model: LatentModel, x: Tensor, z: Tensor, betas: list[float], leapfrog: int
) -> PlainChains:
    log_weights = torch.zeros(z.shape[:2], device=z.device)
    step = torch.full(z.shape[:2], FIRST_STEP, device=z.device)
    total = 0.0
    for previous, beta in pairwise(betas):
        with torch.no_grad():
            log_weights += -_energy(model, x, z, beta) + _energy(model, x, z, previous)
        z, accepted = _hamiltonian_step(model, x, z, beta, step, leapfrog)
        total += accepted.float().mean().item()
        rate = accepted.float() - TARGET_ACCEPTANCE
        factor = torch.where(rate > 0, GROWTH, SHRINKAGE)
        step = (step * factor).clamp(LEAST_STEP, GREATEST_STEP)
    return PlainChains(log_weights, total / (len(betas) - 1))


def _hamiltonian_step(
    model: LatentModel, x: Tensor, z: Tensor, beta: float, step: Tensor, leapfrog: int
) -> tuple[Tensor, Tensor]:
    size = step.unsqueeze(2)
    momentum = torch.randn_like(z)
    position, velocity = z, momentum - 0.5 * size * _energy_gradient(model, x, z, beta)
    for index in range(leapfrog):
        position = position + size * velocity
        kick = size if index < leapfrog - 1 else 0.5 * size
        velocity = velocity - kick * _energy_gradient(model, x, position, beta)
    with torch.no_grad():
        before = _energy(model, x, z, beta) + 0.5 * momentum.square().sum(dim=2)
        after = _energy(model, x, position, beta) + 0.5 * velocity.square().sum(dim=2)
        accepted = torch.rand_like(before) < torch.exp(before - after)
    return torch.where(accepted.unsqueeze(2), position, z), accepted


def _energy(model: LatentModel, x: Tensor, z: Tensor, beta: float) -> Tensor:
    """[chains, n] - log p(z) - beta log p(x given z)."""
    return -model.prior().log_prob(z) - beta * model.decode(z).log_prob(x)


def _energy_gradient(model: LatentModel, x: Tensor, z: Tensor, beta: float) -> Tensor:
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        energy = _energy(model, x, z, beta).sum()
    (gradient,) = torch.autograd.grad(energy, z)
    return gradient
