"""How much faster annealing is than its plain form: at equal length, and at equal bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.progress import Progress, TaskID
from torch import Tensor

from benchmark.estimators.ais import Chains, anneal, anneal_backwards, log_mean_exp
from benchmark.estimators.bdmc import Settings, tuned
from benchmark.estimators.pilot import Tuning
from benchmark.estimators.plain import plain_forward, plain_reverse
from benchmark.estimators.schedule import schedule
from benchmark.randomness import derive_seed, fork_rng
from benchmark.speed.decoder import LATENTS, SIDE, WIDTH, BernoulliVAE, trained_decoder
from benchmark.speed.record import SpeedRecord, machine, publish
from benchmark.speed.timing import has_bfloat16_units, in_turn, seconds

EXAMPLES, CHAINS = 100, 16
PLAIN_LEAPFROG, PLAIN_TEMPERATURES = 10, 1_000
EQUAL_TEMPERATURES, ROUNDS, STRETCHES = 500, 5, 10
LEAPFROG = 3
LENGTHS = (10, 20, 40, 80, 160, 320, 640)
SEEDS = 3


@dataclass(frozen=True)
class Bounds:
    """Mean bounds over the simulated data, nats, and the seconds both took, pilot included."""

    lower: float
    upper: float
    seconds: float

    def as_tight_as(self, other: "Bounds") -> bool:
        return self.lower >= other.lower and self.upper <= other.upper


@dataclass(frozen=True)
class Problem:
    """A decoder and data drawn from it, with the latents they were drawn from."""

    model: BernoulliVAE
    z: Tensor
    x: Tensor


def speed_ais(console: Console, device: torch.device, folder: Path | None = None) -> None:
    """Measures, prints and leaves a table; the last line is JSON with the ratios."""
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("training the decoder", total=None)
        problem = _problem(device)
        equal = _equal_temperatures(problem, device, bars, task)
        bars.reset(task, description=f"plain, {PLAIN_TEMPERATURES:,} temperatures", total=None)
        plain = _plain_bounds(problem, device)
        bars.reset(task, description="equal bounds", total=None)
        found = {"float32": _as_tight(problem, plain, device, None)}
        if has_bfloat16_units(device):
            found["bfloat16"] = _as_tight(problem, plain, device, torch.bfloat16)
    record = SpeedRecord(
        name="ais",
        title="Annealed importance sampling against its plain form",
        columns=("", "temperatures", "seconds", "lower", "upper", "gap", "ratio"),
        rows=[*_rows_of_equal_length(equal), *_rows_of_equal_bounds(plain, found)],
        notes=_notes(device),
        ratios=_ratios(equal, plain, found),
        machine=machine(device),
    )
    publish(record, console, folder)


def _problem(device: torch.device) -> Problem:
    model = trained_decoder().to(device)
    with fork_rng(derive_seed("data to time")), torch.no_grad():
        z = torch.randn(EXAMPLES, LATENTS, device=device)
        return Problem(model, z, model.decode(z).sample())


def _equal_temperatures(
    problem: Problem, device: torch.device, bars: Progress, task: TaskID
) -> dict[str, float]:
    """Seconds of EQUAL_TEMPERATURES, from medians of a tenth of them taken in turn."""
    part = EQUAL_TEMPERATURES // STRETCHES
    plain_settings = {"chains": CHAINS, "temperatures": part, "leapfrog": PLAIN_LEAPFROG}
    commands: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_forward(problem.model, problem.x, **plain_settings)
    }
    dtypes = {"float32": None} | (
        {"bfloat16": torch.bfloat16} if has_bfloat16_units(device) else {}
    )
    with torch.no_grad():
        for name, dtype in dtypes.items():
            settings = Settings(CHAINS, part, PLAIN_LEAPFROG, "prior", "linear", dtype)
            commands[name] = _forward(tuned(problem.model, problem.x, settings), settings)
        bars.reset(task, description="equal temperatures", total=ROUNDS * len(commands))
        times = in_turn(commands, ROUNDS, device, lambda: bars.advance(task))
    return {name: STRETCHES * time for name, time in times.items()}


def _forward(tuning: Tuning, settings: Settings) -> Callable[[], Chains]:
    betas = schedule(settings.schedule, settings.temperatures, tuning.betas, tuning.spread)
    return lambda: anneal(tuning, betas, settings.chains, settings.leapfrog)


def _plain_bounds(problem: Problem, device: torch.device) -> Bounds:
    settings = {"temperatures": PLAIN_TEMPERATURES, "leapfrog": PLAIN_LEAPFROG}
    z = problem.z.expand(CHAINS, *problem.z.shape)
    bounds: list[float] = []

    def both() -> None:
        forward = plain_forward(problem.model, problem.x, chains=CHAINS, **settings)
        backward = plain_reverse(problem.model, problem.x, z, **settings)
        lower, upper = forward.log_weights.T, backward.log_weights.T
        bounds.append(log_mean_exp(lower).mean().item())
        bounds.append(-log_mean_exp(upper).mean().item())

    with fork_rng(derive_seed("plain bounds")):
        taken = seconds(both, device)
    return Bounds(bounds[0], bounds[1], taken)


def _as_tight(
    problem: Problem, plain: Bounds, device: torch.device, dtype: torch.dtype | None
) -> tuple[int, Bounds] | None:
    """The fewest of LENGTHS with bounds as tight as the plain ones in the median of SEEDS."""
    for temperatures in LENGTHS:
        settings = Settings(CHAINS, temperatures, LEAPFROG, "posterior", "adaptive", dtype)
        runs = [_bounds(problem, settings, seed, device) for seed in range(SEEDS)]
        middle = Bounds(
            median(run.lower for run in runs),
            median(run.upper for run in runs),
            median(run.seconds for run in runs),
        )
        if middle.as_tight_as(plain):
            return temperatures, middle
    return None


def _bounds(problem: Problem, settings: Settings, seed: int, device: torch.device) -> Bounds:
    bounds: list[float] = []

    def both() -> None:
        tuning = tuned(problem.model, problem.x, settings)
        betas = schedule(settings.schedule, settings.temperatures, tuning.betas, tuning.spread)
        forward = anneal(tuning, betas, CHAINS, settings.leapfrog)
        backward = anneal_backwards(tuning, betas, problem.z, CHAINS, settings.leapfrog)
        bounds.append(forward.lower_bound.mean().item())
        bounds.append(backward.upper_bound.mean().item())

    with fork_rng(derive_seed("our bounds", seed)), torch.no_grad():
        taken = seconds(both, device)
    return Bounds(bounds[0], bounds[1], taken)


def _ratios(
    equal: dict[str, float], plain: Bounds, found: dict[str, tuple[int, Bounds] | None]
) -> dict[str, float | None]:
    def by_length(name: str) -> float | None:
        return round(equal["plain"] / equal[name], 2) if name in equal else None

    def by_bounds(name: str) -> float | None:
        run = found.get(name)
        return round(plain.seconds / run[1].seconds, 1) if run else None

    return {
        "equal_temperatures": by_length("float32"),
        "equal_temperatures_bf16": by_length("bfloat16"),
        "equal_bounds": by_bounds("float32"),
        "equal_bounds_bf16": by_bounds("bfloat16"),
    }


def _rows_of_equal_length(equal: dict[str, float]) -> list[tuple[str, ...]]:
    def row(name: str, taken: float) -> tuple[str, ...]:
        label = "plain" if name == "plain" else f"ours, {name}"
        cells = (label, str(EQUAL_TEMPERATURES), f"{taken:.1f}")
        return (*cells, "", "", "", f"{equal['plain'] / taken:.2f}")

    return [row(name, taken) for name, taken in equal.items()]


def _rows_of_equal_bounds(
    plain: Bounds, found: dict[str, tuple[int, Bounds] | None]
) -> list[tuple[str, ...]]:
    def row(label: str, temperatures: int, bounds: Bounds) -> tuple[str, ...]:
        numbers = (bounds.lower, bounds.upper, bounds.upper - bounds.lower)
        shown = (f"{number:.2f}" for number in numbers)
        ratio = plain.seconds / bounds.seconds
        return (label, str(temperatures), f"{bounds.seconds:.1f}", *shown, f"{ratio:.1f}")

    runs = {f"ours, {name}": run for name, run in found.items() if run is not None}
    return [
        row("plain", PLAIN_TEMPERATURES, plain),
        *(row(label, *run) for label, run in runs.items()),
    ]


def _notes(device: torch.device) -> list[str]:
    where = f"{torch.get_num_threads()} threads" if device.type == "cpu" else "GPU"
    return [
        f"A {LATENTS}-{WIDTH}-{WIDTH}-{SIDE * SIDE} Bernoulli decoder, {EXAMPLES} simulated "
        f"examples x {CHAINS} chains, {where}.",
        f"Rows without bounds: forward chains of {EQUAL_TEMPERATURES} temperatures and "
        f"{PLAIN_LEAPFROG} leapfrog steps, {STRETCHES} times the median of {ROUNDS} stretches "
        "taken in turn.",
        "Rows with bounds: both bounds, our pilot run included, at the first length at which "
        "neither is looser than the plain one's.",
    ]
