"""What a run needs to know beforehand, learnt from a pilot run and then frozen.

A step size that follows the chain it moves would void the bounds. So a few chains on the same
data measure where the posterior lies, how it is curved, how much the likelihood varies at each
temperature and which step sizes are accepted. The chains that are weighted are others, and read
these tables only.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from benchmark.estimators.hmc import Transition, transition
from benchmark.estimators.latents import Gaussian
from benchmark.estimators.likelihood import Likelihood
from benchmark.estimators.path import Path, Position
from benchmark.estimators.schedule import interpolated, place

StartName = Literal["prior", "encoder", "posterior"]
STARTS: tuple[str, ...] = get_args(StartName)

TARGET_ACCEPTANCE = 0.65  # where a trajectory's cost and its reach are in balance (Neal 2011, 5.4)
QUARTER_PERIOD = math.pi / 2  # of a unit Gaussian: a trajectory of that length forgets its start
FEWEST_CHAINS, MOST_CHAINS = 8, 32
CHAIN_LATENTS = 128  # chains times latents: in few dimensions posteriors fall apart into islands
MOVES = 2  # trajectories at each pilot temperature
SPREAD = 2.0  # standard deviations of log weight from one pilot temperature to the next
MOST_TEMPERATURES = 300
LEAST_STEP, RATE = 1e-4, 0.5
SMOOTHING = 5  # pilot temperatures that are averaged in the tables
DRAWS = 8  # of x at each z, for the Fisher information
POOLING = 0.5  # weight of the mean over data in each datum's Fisher information
SETTLING, VISITS = 5, 10  # trajectories at the posterior, before and while its mean is taken
LEAST_VARIANCE = 1e-14  # beside the largest: smaller ones are rounding, and may be negative
WIDENING = 1.2  # of the Gaussian that stands for the posterior, for it must not be too narrow


_Tables = tuple[Tensor, Tensor, Tensor]  # betas, spread, steps: [n, k] each


@dataclass(frozen=True)
class Tuning:
    """A path and what a pilot run saw along it.

    Args:
        path: with the coordinates that the curvature suggests.
        betas: [n, k] pilot temperatures of each datum, from 0 to 1.
        spread: [n, k] standard deviation of the gain over chains, nats.
        steps: [n, k] step sizes that were accepted, at most a quarter period in all.
        curvature: [n, latents] precision of p(x, z) along each coordinate, that of the start 1.
    """

    path: Path
    betas: Tensor
    spread: Tensor
    steps: Tensor
    curvature: Tensor

    def step_sizes(self, betas: Tensor) -> Tensor:
        """[n, t] for the temperatures [n, t] of a schedule."""
        return interpolated(self.steps.log(), place(self.betas.double(), betas)).exp()


def precision_at(curvature: Tensor, beta: Tensor) -> Tensor:
    """[n, latents] precision along each coordinate at inverse temperatures [n]."""
    return torch.lerp(torch.ones_like(curvature), curvature, beta.unsqueeze(1))


def tune(
    likelihood: Likelihood, start: str, leapfrog: int, proposal: Gaussian | None = None
) -> Tuning:
    """Runs the pilot on all data of the likelihood.

    Args:
        likelihood: of the data.
        start: "prior"; "encoder", which sets out from `proposal`; or "posterior", from a Gaussian
            fitted to what the pilot saw of the posterior.
        leapfrog: steps of a trajectory in the run that is prepared.
        proposal: q(z given x) in standard latents.

    Raises:
        ValueError: there is no such start, or no proposal to start from.
    """
    if start not in STARTS:
        raise ValueError(f"no start named {start!r}; known: {', '.join(STARTS)}")
    if start == "encoder" and proposal is None:
        raise ValueError("start='encoder' needs a model with encode() and normal distributions")
    x, latents = likelihood.x, likelihood.model.latents
    prior = Gaussian.standard(len(x), latents, x.device)
    first = Path(likelihood, prior, from_prior=True)
    _, position = _explore(first, torch.ones_like(prior.mean), leapfrog)
    z = first.z(position.u)
    fisher = pooled_fisher_information(likelihood, z)
    if start == "posterior":
        proposal = _posterior(likelihood, z, fisher, leapfrog)
    path, curvature = _coordinates(likelihood, fisher, proposal if start != "prior" else None)
    table, _ = _explore(path, curvature, leapfrog)
    return Tuning(path, *table, curvature)


def pooled_fisher_information(likelihood: Likelihood, z: Tensor) -> Tensor:
    """[n, latents, latents] of p(x given z), averaged over chains z [n, chains, latents].

    Estimated as the covariance of the score over x drawn from the model, and drawn towards its
    mean over data, which is less noisy.
    """
    n, chains, latents = z.shape
    total = z.new_zeros(n, latents, latents)
    for _ in range(DRAWS):
        score = likelihood.simulated_score(z)
        score = score.nan_to_num(0.0, 0.0, 0.0)
        total += score.mT @ score
    information = total / (DRAWS * chains)
    return torch.lerp(information, information.mean(dim=0, keepdim=True), POOLING)


def _coordinates(
    likelihood: Likelihood, fisher: Tensor, proposal: Gaussian | None
) -> tuple[Path, Tensor]:
    """A path whose coordinates are the axes of the posterior, and the curvature along them."""
    fisher, dtype = fisher.double(), fisher.dtype  # its eigenvalues may span ten powers of ten
    if proposal is None:
        curvature, axes = torch.linalg.eigh(fisher)
        start = Gaussian(torch.zeros_like(curvature).to(dtype), axes.to(dtype))
        return Path(likelihood, start, from_prior=True), 1 + curvature.clamp(min=0).to(dtype)
    factor = proposal.factor.double()
    identity = torch.eye(fisher.shape[1]).to(fisher)
    curvature, axes = torch.linalg.eigh(factor.mT @ (fisher + identity) @ factor)
    start = Gaussian(proposal.mean, (factor @ axes).to(dtype))
    return Path(likelihood, start, from_prior=False), curvature.clamp(min=1e-3).to(dtype)


def _explore(path: Path, curvature: Tensor, leapfrog: int) -> tuple[_Tables, Position]:
    """Brings a few chains to the posterior, placing temperatures and adapting steps on the way.

    Chains are resampled by their weights, as in sequential Monte Carlo: those that went astray say
    nothing about the posterior.
    """
    latents = curvature.shape[1]
    chains = min(MOST_CHAINS, max(FEWEST_CHAINS, CHAIN_LATENTS // latents))
    position = path.draw(chains)
    beta = torch.zeros_like(curvature[:, 0])
    steps = torch.full_like(beta, QUARTER_PERIOD / leapfrog)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    while True:
        spread = position.gain.double().std(dim=1).nan_to_num(0.0, 0.0, 0.0).to(beta)
        rows.append((beta, spread, steps))
        if bool((beta >= 1).all()):
            break
        rise = SPREAD / spread.clamp(min=SPREAD)
        rise = torch.ones_like(rise) if len(rows) >= MOST_TEMPERATURES else rise
        rise = rise.minimum(1 - beta)
        beta = beta + rise
        position = position.take(_survivors(rise.unsqueeze(1) * position.gain))
        for _ in range(MOVES):
            position, steps = _adapted_move(path, position, beta, steps, curvature, leapfrog)
    betas, spreads, all_steps = (torch.stack(column, dim=1) for column in zip(*rows, strict=True))
    return (betas, _smooth(spreads), _smooth(all_steps)), position


def _survivors(log_weights: Tensor) -> Tensor:
    """[n, chains] indices of systematic resampling by exp(log weights [n, chains])."""
    n, chains = log_weights.shape
    shares = log_weights.double().nan_to_num(-1e9, -1e9, -1e9).softmax(dim=1).cumsum(dim=1)
    offsets = torch.rand(n, 1, dtype=torch.float64, device=shares.device)
    ladder = (torch.arange(chains, device=shares.device) + offsets) / chains
    return torch.searchsorted(shares.contiguous(), ladder).clamp(max=chains - 1)


def _smooth(table: Tensor) -> Tensor:
    """[n, k] geometric means over neighbouring temperatures."""
    logs = table.clamp(min=1e-6).log().unsqueeze(1)
    reach = SMOOTHING // 2
    padded = torch.nn.functional.pad(logs, (reach, reach), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, SMOOTHING, stride=1).squeeze(1).exp()


def _adapted_move(
    path: Path, position: Position, beta: Tensor, steps: Tensor, curvature: Tensor, leapfrog: int
) -> tuple[Position, Tensor]:
    scale = (steps.unsqueeze(1) * precision_at(curvature, beta).rsqrt()).unsqueeze(1)
    moved = transition(path, position, beta, scale, leapfrog)
    return moved.position, adapted(steps, moved, leapfrog)


def adapted(steps: Tensor, moved: Transition, leapfrog: int) -> Tensor:
    """[n] step sizes moved towards the acceptance that is aimed at; for pilot chains only."""
    excess = moved.acceptance.mean(dim=1) - TARGET_ACCEPTANCE
    greatest = QUARTER_PERIOD / leapfrog
    return (steps * (RATE * excess).exp()).clamp(LEAST_STEP, greatest)


def _posterior(likelihood: Likelihood, z: Tensor, fisher: Tensor, leapfrog: int) -> Gaussian:
    """A Gaussian around where chains go at the posterior.

    Its covariance is that of one island, from the curvature there, and that of the islands that
    the chains settled on: a start that knows one of several leaves reverse chains from the others
    a long way to come.
    """
    path, curvature = _coordinates(likelihood, fisher, None)
    position = path.evaluate(path.u(z))
    beta = torch.ones_like(curvature[:, 0])
    steps = torch.full_like(beta, QUARTER_PERIOD / leapfrog)
    visited = []
    for move in range(SETTLING + VISITS):
        position, steps = _adapted_move(path, position, beta, steps, curvature, leapfrog)
        if move >= SETTLING:
            visited.append(path.z(position.u))
    centres = torch.stack(visited).mean(dim=0)  # [n, chains, latents], of each chain
    mean = centres.mean(dim=1, keepdim=True)
    apart = (centres - mean).double()
    between = apart.mT @ apart / (apart.shape[1] - 1)
    within = torch.linalg.inv(torch.eye(fisher.shape[1]).to(between) + fisher.double())
    variances, axes = torch.linalg.eigh(WIDENING * within + between)
    least = LEAST_VARIANCE * variances.amax(dim=1, keepdim=True)
    variances = torch.maximum(variances, least)
    return Gaussian(mean.squeeze(1), (axes * variances.sqrt().unsqueeze(1)).to(mean))
