"""Annealed importance sampling: lower bounds on log p(x), and upper bounds where z is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.estimators.hmc import DIVERGENCE, Transition, transition
from benchmark.estimators.path import Path, Position
from benchmark.estimators.pilot import Tuning, precision_at

JITTER = 0.2  # of a step
WIDE = 1 / 3  # share of trajectories with steps between the posterior's and the start's

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Chains:
    """Annealed chains of n data.

    Args:
        log_weights: [n, chains] nats, float64. Of forward chains, exp has the mean p(x); of
            reverse chains, exp of minus them has the mean 1 / p(x).
        acceptance: [n] mean probability of a trajectory's acceptance.
        divergences: [n] share of trajectories that the integrator lost.
        energy_error: [n] mean absolute energy error of the others, nats.
    """

    log_weights: Tensor
    acceptance: Tensor
    divergences: Tensor
    energy_error: Tensor

    @property
    def lower_bound(self) -> Tensor:
        """[n] of forward chains: log-mean-exp over chains, a lower bound on log p(x).

        In expectation, and with probability 1 - exp(-b) to within b nats in any single run.

        Source: Neal 2001, "Annealed importance sampling", eq. 11; Grosse et al. 2016,
        arXiv:1606.02275, section 3.1.
        """
        return log_mean_exp(self.log_weights)

    @property
    def upper_bound(self) -> Tensor:
        """[n] of reverse chains: minus log-mean-exp of minus the weights.

        By Jensen's inequality more chains tighten it, which a mean of log weights does not do.

        Source: Grosse et al. 2016, arXiv:1606.02275, section 3.2.
        """
        return -log_mean_exp(-self.log_weights)

    @property
    def effective_chains(self) -> Tensor:
        """[n] effective sample size of the weights, between 1 and the number of chains."""
        log_weights = self.log_weights
        return (2 * log_weights.logsumexp(dim=1) - (2 * log_weights).logsumexp(dim=1)).exp()

    @property
    def standard_error(self) -> Tensor:
        """[n] of the estimate from its own chains, nats (delta method)."""
        chains = self.log_weights.shape[1]
        variance = (1 / self.effective_chains - 1 / chains).clamp(min=0) * chains / (chains - 1)
        return variance.sqrt()


def log_mean_exp(values: Tensor) -> Tensor:
    """[n] log of the mean of exp(values) over the last dimension, float64."""
    return values.double().logsumexp(dim=-1) - math.log(values.shape[-1])


def anneal(
    tuning: Tuning,
    betas: Tensor,
    chains: int,
    leapfrog: int,
    progress: Progress = lambda done, total: None,
) -> Chains:
    """Forward chains from the start of the path to the posterior.

    A weight takes up its increment before the chain moves on; the last move, which no weight
    would see, is left out.

    Args:
        tuning: from a pilot run on the same data.
        betas: [n, temperatures + 1] from 0 to 1, from `schedule`.
        chains: for each datum.
        leapfrog: steps of a trajectory, one trajectory a temperature.
        progress: told of (temperatures done, temperatures in all).

    Raises:
        ValueError: fewer than two chains, or a decoder that gives NaN.
    """
    check_chains(chains)
    run = _Run(tuning, betas, leapfrog, tuning.path.draw(chains), progress)
    last = betas.shape[1] - 1
    for index in range(1, last + 1):
        run.weigh(index)
        if index < last:
            run.move(index)
    return run.finish()


def anneal_backwards(
    tuning: Tuning,
    betas: Tensor,
    z: Tensor,
    chains: int,
    leapfrog: int,
    progress: Progress = lambda done, total: None,
) -> Chains:
    """Reverse chains from an exact posterior sample back to the start: the same moves, reversed.

    All chains of a datum set out from its z; moves at the posterior, which leave it invariant,
    part them before they are weighed.

    Args:
        tuning: from a pilot run on the same data that did not know `z`.
        betas: as in `anneal`.
        z: [n, latents] in standard latents, drawn together with the data.
        chains: for each datum.
        leapfrog: steps of a trajectory.
        progress: told of (temperatures done, temperatures in all).

    Raises:
        ValueError: fewer than two chains, or a decoder that gives NaN.
    """
    check_chains(chains)
    path = tuning.path
    position = path.evaluate(path.u(z.unsqueeze(1).expand(-1, chains, -1)))
    run = _Run(tuning, betas, leapfrog, position, progress)
    last = betas.shape[1] - 1
    for _ in range(max(1, last // PARTING)):
        run.move(last)
    for index in range(last, 0, -1):
        run.weigh(index)
        if index > 1:
            run.move(index - 1)
    return run.finish()


PARTING = 20  # one move at the posterior for so many temperatures


def check_chains(chains: int) -> None:
    if chains < 2:
        raise ValueError(f"chains must be at least 2, for their spread is the error; got {chains}")


class _Run:
    """Chains under way, and sums over their moves; nothing in it makes a GPU wait."""

    def __init__(
        self, tuning: Tuning, betas: Tensor, leapfrog: int, position: Position, progress: Progress
    ) -> None:
        self.path: Path = tuning.path
        self.curvature = tuning.curvature
        self.betas, self.increments = betas.float().T, betas.diff(dim=1).T.unsqueeze(2)
        self.steps = tuning.step_sizes(betas).float().T
        self.leapfrog, self.position, self.progress = leapfrog, position, progress
        self.log_weights = torch.zeros_like(position.gain, dtype=torch.float64)
        self.sums = torch.zeros(3, len(position.gain), device=position.gain.device)
        self.moves = self.weighed = 0

    def weigh(self, index: int) -> None:
        """Adds the increment from the temperature before `index` to it."""
        increment = self.increments[index - 1]
        # A schedule may repeat a temperature, and nothing times -inf is nothing.
        self.log_weights += (increment * self.position.gain).masked_fill(increment == 0, 0.0)
        self.weighed += 1
        self.progress(self.weighed, len(self.increments))

    def move(self, index: int) -> None:
        """One trajectory of every chain, its length drawn independently of where the chain is.

        A fixed length could return every chain to where it was. And where the posterior falls
        apart into islands, steps that suit the island are too short to reach it, so some chains
        take steps up to what suits the start.
        """
        beta, step = self.betas[index], self.steps[index]
        precision = precision_at(self.curvature, beta).unsqueeze(1)
        share = torch.rand_like(self.position.u[..., :1])
        wide = torch.rand_like(share) < WIDE
        power = torch.where(wide, share, torch.ones_like(share))
        jitter = torch.empty_like(step).uniform_(1 - JITTER, 1 + JITTER)
        scale = (step * jitter).view(-1, 1, 1) * precision.pow(-0.5 * power)
        moved = transition(self.path, self.position, beta, scale, self.leapfrog)
        self.position = moved.position
        self.sums += _statistics(moved)
        self.moves += 1

    def finish(self) -> Chains:
        """Raises ValueError where the decoder, not the integrator, was at fault."""
        faults = int(self.path.faults)
        if faults:
            raise ValueError(f"decode(z) gave NaN at {faults} places where the prior has its mass")
        lost = int(self.log_weights.isneginf().all(dim=1).sum())
        if lost:
            raise ValueError(
                f"log p(x given z) is -inf at every z tried for {lost} of "
                f"{len(self.log_weights)} examples: they are outside the decoder's support"
            )
        if not self.log_weights.isneginf().logical_or(self.log_weights.isfinite()).all():
            raise ValueError("log p(x given z) is +inf or NaN for some examples")
        acceptance, divergences, error = self.sums / max(1, self.moves)
        kept = (1 - divergences).clamp(min=1e-12)
        return Chains(self.log_weights, acceptance, divergences, error / kept)


def _statistics(moved: Transition) -> Tensor:
    """[3, n] means over chains of acceptance, divergence and absolute energy error."""
    error = moved.log_ratio.abs().nan_to_num(nan=0.0, posinf=0.0)
    error = error.masked_fill(error > DIVERGENCE, 0.0)
    parts = (moved.acceptance, moved.diverged.float(), error.float())
    return torch.stack([part.mean(dim=1) for part in parts])
