"""log p(x) of latent-variable models: lower bounds on data, sandwiches on simulated data."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.estimators.ais import Chains, anneal, anneal_backwards, check_chains
from benchmark.estimators.latents import Gaussian, StandardLatents
from benchmark.estimators.likelihood import Likelihood
from benchmark.estimators.pilot import STARTS, Tuning, tune
from benchmark.estimators.prior_draws import prior_draws
from benchmark.estimators.schedule import schedule
from benchmark.spec import Encoder, LatentModel

# Chains at once: they bound memory. A processor works fastest on what fits its cache, a GPU on
# what fills it.
ROWS = {"cpu": 1_600, "cuda": 64_000}

TRIALS, TRIAL_TEMPERATURES = 10, 20  # data that choose a start, and the fewest temperatures
FEW_LATENTS = 4  # in which the prior is near everything, and posteriors fall apart into islands

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """How log p(x) is annealed; more of everything tightens the bounds.

    Args:
        chains: for each datum.
        temperatures: intermediate distributions.
        leapfrog: steps of a trajectory, one trajectory a temperature.
        start: "prior", "encoder" or "posterior" (see `pilot.tune`).
        schedule: "adaptive", "sigmoid" or "linear".
        proposal_dtype: of the decoder inside trajectories; the test and the weights are in full
            precision whatever it is.
        prior_draws: plain draws from the prior that are mixed into the weights of chains, 0 for
            none (see `prior_draws`).
    """

    chains: int = 16
    temperatures: int = 1_000
    leapfrog: int = 3
    start: str = "prior"
    schedule: str = "adaptive"
    proposal_dtype: torch.dtype | None = None
    prior_draws: int = 0


@dataclass(frozen=True)
class Sandwich:
    """Both bounds on data simulated from the model, for one number of temperatures."""

    temperatures: int
    forward: Chains
    backward: Chains

    @property
    def gaps(self) -> Tensor:
        """[n] upper minus lower bound, nats; single ones may be negative."""
        return self.backward.upper_bound - self.forward.lower_bound


def annealed_lower_bound(
    model: LatentModel,
    x: Tensor,
    settings: Settings,
    progress: Progress = lambda done, total: None,
) -> Chains:
    """Annealed importance sampling of log p(x), after a pilot run on the same data.

    Args:
        model: gives p(z) and p(x given z), and q(z given x) if the start is "encoder".
        x: [n, *shape] data.
        settings: how long and from where.
        progress: told of (temperatures done, temperatures in all), over all batches of data.

    Raises:
        ValueError: the settings, the data or the decoder's values are at fault.
    """
    check_chains(settings.chains)
    size = max(1, ROWS[x.device.type] // settings.chains)
    parts, batches = [], x.split(size)
    tick = _ticker(progress, len(batches) * settings.temperatures)
    with torch.no_grad():
        for batch in batches:
            tuning = tuned(model, batch, settings)
            betas = _betas(tuning, settings.schedule, settings.temperatures)
            chains = anneal(tuning, betas, settings.chains, settings.leapfrog, tick)
            if settings.prior_draws:
                draws = prior_draws(StandardLatents(model), batch, settings.prior_draws)
                chains = draws.beside(chains)
            parts.append(chains)
    return _joined(parts)


def sandwiches(
    model: LatentModel,
    n: int,
    settings: Settings,
    lengths: list[int],
    progress: Progress = lambda done, total: None,
) -> list[Sandwich]:
    """Bidirectional Monte Carlo: both bounds on n simulated data, for several lengths of run.

    The latents of simulated data are exact samples of their posterior, from which reverse chains
    set out. The pilot run sees the data only.

    Source: Grosse et al. 2016, arXiv:1606.02275; Wu et al. 2017, arXiv:1611.04273, section 3.
    """
    check_chains(settings.chains)
    latents = StandardLatents(model)
    size = max(1, ROWS[latents.device.type] // settings.chains)
    forward: dict[int, list[Chains]] = {length: [] for length in lengths}
    backward: dict[int, list[Chains]] = {length: [] for length in lengths}
    batches = [min(size, n - first) for first in range(0, n, size)]
    tick = _ticker(progress, len(batches) * 2 * sum(lengths))
    with torch.no_grad():
        for count in batches:
            z = torch.randn(count, latents.latents, device=latents.device)
            decoded = latents.decode(z)
            x = decoded.sample()
            tuning = tuned(model, x, settings)
            draws = prior_draws(latents, x, settings.prior_draws) if settings.prior_draws else None
            for length in lengths:
                betas = _betas(tuning, settings.schedule, length)
                chains, leapfrog = settings.chains, settings.leapfrog
                there = anneal(tuning, betas, chains, leapfrog, tick)
                back = anneal_backwards(tuning, betas, z, chains, leapfrog, tick)
                if draws is not None:
                    there = draws.beside(there)
                    back = draws.beside_reverse(back, decoded.log_prob(x))
                forward[length].append(there)
                backward[length].append(back)
    return [Sandwich(t, _joined(forward[t]), _joined(backward[t])) for t in lengths]


def _ticker(progress: Progress, total: int) -> Callable[[int, int], None]:
    """Counts temperatures over several runs, and tells of every hundredth of the total."""
    done = 0

    def tick(_: int, __: int) -> None:
        nonlocal done
        done += 1
        if done * 100 // total > (done - 1) * 100 // total:
            progress(done, total)

    return tick


def best_start(model: LatentModel, x: Tensor, settings: Settings) -> str:
    """The start from which short runs reach the highest bound on a few data.

    All of the bounds hold, so the highest is the tightest. The data should be none of those that
    are measured afterwards. Gaps on simulated data would not do: they do not show that a start
    misses data unlike the model's own. Where latents are few it is the prior without a trial: it
    knows every island, and a few data would not show which ones a fitted start has missed.

    Args:
        model: gives p(z) and p(x given z), and perhaps q(z given x).
        x: [n, *shape] held-out data, of which the first TRIALS are used.
        settings: of the runs to come; the trials have half their temperatures.
    """
    if StandardLatents(model).latents <= FEW_LATENTS:
        return "prior"
    short = max(TRIAL_TEMPERATURES, settings.temperatures // 2)
    bounds = {}
    for start in STARTS:
        if start != "encoder" or _has_gaussian_encoder(model):
            trial = replace(settings, start=start, temperatures=short, prior_draws=0)
            bounds[start] = annealed_lower_bound(model, x[:TRIALS], trial).lower_bound.mean()
    return max(bounds, key=lambda start: bounds[start].item())


def _has_gaussian_encoder(model: LatentModel) -> bool:
    if not isinstance(model, Encoder):
        return False
    latents = StandardLatents(model)
    with torch.no_grad():
        z = torch.zeros(1, latents.latents, device=latents.device)
        x = latents.decode(z).sample()
        return latents.standardised(model.encode(x)) is not None


def tuned(model: LatentModel, x: Tensor, settings: Settings) -> Tuning:
    """The pilot run on x [n, *shape]."""
    latents = StandardLatents(model)
    likelihood = Likelihood(latents, x, settings.proposal_dtype)
    proposal: Gaussian | None = None
    if settings.start == "encoder" and isinstance(model, Encoder):
        proposal = latents.standardised(model.encode(x))
    return tune(likelihood, settings.start, settings.leapfrog, proposal)


def _betas(tuning: Tuning, name: str, temperatures: int) -> Tensor:
    return schedule(name, temperatures, tuning.betas, tuning.spread)


def _joined(parts: list[Chains]) -> Chains:
    return Chains(
        torch.cat([part.log_weights for part in parts]),
        torch.cat([part.acceptance for part in parts]),
        torch.cat([part.divergences for part in parts]),
        torch.cat([part.energy_error for part in parts]),
    )
