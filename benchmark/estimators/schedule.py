"""Inverse temperatures of an annealing path."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

ScheduleName = Literal["adaptive", "sigmoid", "linear"]
SCHEDULES: tuple[str, ...] = get_args(ScheduleName)
RADIUS = 4.0  # of the sigmoid schedule


def schedule(name: str, temperatures: int, betas: Tensor, spread: Tensor) -> Tensor:
    """[n, temperatures + 1] inverse temperatures from 0 to 1 for each datum, float64.

    Args:
        name: one of SCHEDULES; only the adaptive one differs between data.
        temperatures: how many steps lead from 0 to 1.
        betas: [n, k] where a pilot run measured `spread`, from 0 to 1.
        spread: [n, k] standard deviation of the log weight per unit of beta there, nats.

    Raises:
        ValueError: there is no such schedule, or fewer than one temperature.
    """
    if temperatures < 1:
        raise ValueError(f"temperatures must be at least 1, got {temperatures}")
    if name == "adaptive":
        return _equal_losses(temperatures, betas.double(), spread.double())
    if name not in SCHEDULES:
        raise ValueError(f"no schedule named {name!r}; known: {', '.join(SCHEDULES)}")
    grid = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)
    if name == "sigmoid":
        grid = _sigmoid(grid)
    return grid.to(betas.device).expand(len(betas), -1)


def _sigmoid(grid: Tensor) -> Tensor:
    """Slow at both ends (Wu et al. 2017, arXiv:1611.04273, their code's radius of 4)."""
    bent = (RADIUS * (2 * grid - 1)).sigmoid()
    return (bent - bent[0]) / (bent[-1] - bent[0])


def _equal_losses(temperatures: int, betas: Tensor, spread: Tensor) -> Tensor:
    """Each step changes the log weight by the same standard deviation.

    For small steps the conditional effective sample size is 1 - variance of the increment, so
    this is the schedule along which it is lost evenly (Zhou et al. 2016, arXiv:1303.3123, eq. 10).
    """
    lengths = betas.diff(dim=1) * (spread[:, 1:] + spread[:, :-1]) / 2
    covered = torch.cat([torch.zeros_like(betas[:, :1]), lengths.cumsum(dim=1)], dim=1)
    # A little of the index itself: it increases even where nothing is lost.
    covered = covered + 1e-6 * torch.arange(betas.shape[1]).to(covered)
    share = torch.linspace(0, 1, temperatures + 1).to(covered)
    result = interpolated(betas, place(covered, covered[:, -1:] * share))
    result[:, 0], result[:, -1] = 0.0, 1.0
    return result


def place(knots: Tensor, values: Tensor) -> Tensor:
    """[n, t] fractional indices of `values` [n, t] among the rising `knots` [n, k]."""
    knots = knots.contiguous()
    last = knots.shape[1] - 2
    low = (torch.searchsorted(knots, values.to(knots).contiguous(), right=True) - 1).clamp(0, last)
    left, right = knots.gather(1, low), knots.gather(1, low + 1)
    share = (values - left) / (right - left).clamp(min=torch.finfo(knots.dtype).tiny)
    return low + share.clamp(0, 1)


def interpolated(table: Tensor, places: Tensor) -> Tensor:
    """[n, t] values of `table` [n, k] at fractional indices [n, t]."""
    low = places.floor().long().clamp(0, table.shape[1] - 2)
    return torch.lerp(table.gather(1, low), table.gather(1, low + 1), (places - low).to(table))


def shorter_runs(temperatures: int) -> list[int]:
    """Numbers of temperatures that show how bounds close: the number itself, and its halvings."""
    halvings = {math.ceil(temperatures / 2**k) for k in range(5)}
    return sorted(length for length in halvings if length >= 2 or length == temperatures)
