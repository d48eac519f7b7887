"""Hamiltonian Monte Carlo along an annealing path, with one evaluation for each leapfrog step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.estimators.path import Path, Position

DIVERGENCE = 1_000.0  # nats of energy error: the integrator has left the trajectory


@dataclass(frozen=True)
class Transition:
    """One Metropolis-tested trajectory of every chain.

    Args:
        position: where the chains are now.
        log_ratio: [n, chains] minus the energy error, nats; NaN where the trajectory left the
            numbers.
        accepted: [n, chains].
    """

    position: Position
    log_ratio: Tensor
    accepted: Tensor

    @property
    def acceptance(self) -> Tensor:
        """[n, chains] probability with which each trajectory was to be accepted."""
        return self.log_ratio.nan_to_num(nan=-torch.inf).clamp(max=0).exp().float()

    @property
    def diverged(self) -> Tensor:
        """[n, chains] whether the energy error was beyond DIVERGENCE, or no number."""
        return ~(self.log_ratio > -DIVERGENCE)


def transition(
    path: Path, position: Position, beta: Tensor, scale: Tensor, leapfrog: int
) -> Transition:
    """Moves every chain by a trajectory that leaves the path's density at `beta` invariant.

    The likelihood and its gradient do not depend on beta, so those at the start are the ones that
    `position` carries: a trajectory costs `leapfrog` evaluations, its test none.

    Args:
        path: gives densities and gradients.
        position: chains [n, chains, latents].
        beta: [n] or [] inverse temperatures.
        scale: [n, 1 or chains, latents] step size times the square root of the inverse mass.
        leapfrog: steps.

    Source: Neal 2011, "MCMC using Hamiltonian dynamics", section 5.2.
    """
    beta = beta.view(-1, 1)
    momentum = torch.randn_like(position.u)
    u = position.u
    velocity = momentum + 0.5 * scale * path.slope(position.u, position.gain_gradient, beta)
    for _ in range(leapfrog - 1):
        u = torch.addcmul(u, scale, velocity)
        velocity = torch.addcmul(velocity, scale, path.slope(u, path.gain_gradient(u), beta))
    u = torch.addcmul(u, scale, velocity)
    proposed = path.evaluate(u)
    velocity = velocity + 0.5 * scale * path.slope(u, proposed.gain_gradient, beta)
    kinetic = 0.5 * (momentum.double().square() - velocity.double().square()).sum(dim=2)
    log_ratio = proposed.log_density(beta) - position.log_density(beta) + kinetic
    accepted = torch.rand_like(log_ratio).log() < log_ratio  # False where it is NaN
    return Transition(proposed.where(accepted, position), log_ratio, accepted)
