"""Promises about probability, on spaces small enough to be sure: 81 images, or the plane."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from benchmark.conformance.promises import Check, attempt, claims, fit, line, require
from benchmark.randomness import fork_rng, generator
from benchmark.spec import BoundedDensity, DataSpec, Density

TINY = DataSpec((1, 2, 2), levels=3)
EVERY_IMAGE = torch.tensor(list(product(range(3), repeat=4)), dtype=torch.uint8).view(
    81, *TINY.shape
)
PLANE = DataSpec((2,))
GRID_REACH, GRID_POINTS, COARSE_GRID_POINTS = 8.0, 500, 150
DRAWS = 100  # of a random bound, whose mean is what is promised
TOLERANCE = 0.02  # of a sum or an integral that should be one


def check_small(make: Callable[[DataSpec], Any], images: bool) -> list[Check]:
    """The promises about probability, on 81 images or on the plane."""
    spec = TINY if images else PLANE
    data = tiny_images(800) if images else plane_points(2_000)
    place = "on 2x2 images with 3 levels" if images else "on a smooth toy in the plane"
    try:
        model = make(spec)
        with fork_rng(2):
            fit(model, data[:-200], data[-200:])
    except Exception as error:
        return [Check(f"builds and fits {place}", None, line(error))]
    total = _sums_to_one if images else _integrates_to_one
    bound = _bound_sums_to_at_most_one if images else _bound_integrates_to_at_most_one
    follows = _samples_follow_the_mass if images else _samples_follow_the_density
    return [
        attempt(f"log_prob adds up to one {place}", lambda: total(model)),
        attempt(f"log_prob_bound adds up to at most one {place}", lambda: bound(model)),
        attempt(f"samples follow log_prob {place}", lambda: follows(model)),
    ]


def tiny_images(n: int) -> Tensor:
    """[n, 1, 2, 2] dependent, unequal levels: no sub-pixel is like another."""
    draws = torch.rand(n, 4, generator=generator("tiny images"))
    first = (draws[:, 0] * 3).long()
    second = torch.where(draws[:, 1] < 0.7, first, 2 - first)
    third = (draws[:, 2] ** 2 * 3).long()
    fourth = torch.where(draws[:, 3] < 0.5, second, third)
    return torch.stack([first, second, third, fourth], dim=1).view(n, *TINY.shape).to(torch.uint8)


def plane_points(n: int) -> Tensor:
    """[n, 2] a correlated, shifted, smooth cloud."""
    noise = torch.randn(n, 2, generator=generator("plane points"))
    return noise @ torch.tensor([[1.0, 0.6], [0.0, 0.7]]) + torch.tensor([0.5, -0.8])


def _sums_to_one(model: Any) -> str:
    claims(model, Density, "log_prob")
    with torch.no_grad():
        total = model.log_prob(EVERY_IMAGE).double().exp().sum().item()
    require(abs(total - 1) < 1e-4, f"the masses of all 81 images add up to {total:.6f}")
    return f"{total:.6f}"


def _bound_sums_to_at_most_one(model: Any) -> str:
    claims(model, BoundedDensity, "log_prob_bound")
    with fork_rng(4), torch.no_grad():
        draws = torch.stack([model.log_prob_bound(EVERY_IMAGE).double() for _ in range(DRAWS)])
    total = draws.mean(dim=0).exp().sum().item()
    require(total <= 1 + TOLERANCE, f"exp(bound) of all 81 images adds up to {total:.4f}")
    return f"{total:.4f}"


def _on_grid(function: Callable[[Tensor], Tensor], points: int) -> tuple[Tensor, float]:
    """[points^2] values at cell centres of the plane, and the area of a cell."""
    step = 2 * GRID_REACH / points
    side = torch.arange(points) * step - GRID_REACH + step / 2
    with fork_rng(6), torch.no_grad():
        parts = [function(x).double() for x in torch.cartesian_prod(side, side).split(50_000)]
    return torch.cat(parts), step**2


def _integrates_to_one(model: Any) -> str:
    claims(model, Density, "log_prob")
    values, area = _on_grid(model.log_prob, GRID_POINTS)
    total = values.exp().sum().item() * area
    require(abs(total - 1) < TOLERANCE, f"the density integrates to {total:.4f}")
    return f"{total:.4f}"


def _bound_integrates_to_at_most_one(model: Any) -> str:
    claims(model, BoundedDensity, "log_prob_bound")

    def mean_bound(x: Tensor) -> Tensor:
        return torch.stack([model.log_prob_bound(x) for _ in range(DRAWS)]).mean(dim=0)

    values, area = _on_grid(mean_bound, COARSE_GRID_POINTS)
    total = values.exp().sum().item() * area
    require(total <= 1 + TOLERANCE, f"exp(bound) integrates to {total:.4f}")
    return f"{total:.4f}"


def _samples_follow_the_mass(model: Any) -> str:
    claims(model, Density, "log_prob")
    count = 4_000
    with fork_rng(7), torch.no_grad():
        drawn = model.sample(count).flatten(1).long()
        expected = model.log_prob(EVERY_IMAGE).double().exp() * count
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(dim=1)
    observed = torch.bincount(index, minlength=81).double()
    p_value = _chi_square(observed, expected)
    require(
        p_value > 1e-5, f"frequencies of {count} samples contradict log_prob, p = {p_value:.1e}"
    )
    return f"chi-square p = {p_value:.2f}"


def _chi_square(observed: Tensor, expected: Tensor) -> float:
    """p-value of Pearson's test, rare outcomes pooled into one."""
    from scipy.stats import chi2

    common = expected >= 5
    pooled = [torch.cat([v[common], v[~common].sum()[None]]) for v in (observed, expected)]
    statistic = ((pooled[0] - pooled[1]).square() / pooled[1].clamp(min=1e-9)).sum().item()
    return float(chi2.sf(statistic, max(1, int(common.sum()))))


def _samples_follow_the_density(model: Any) -> str:
    claims(model, Density, "log_prob")
    values, area = _on_grid(model.log_prob, GRID_POINTS)
    negative_entropy = (values.exp() * values).nan_to_num().sum().item() * area
    with fork_rng(8), torch.no_grad():
        at_samples = model.log_prob(model.sample(4_000)).double()
    error = at_samples.std().item() / math.sqrt(len(at_samples))
    gap = at_samples.mean().item() - negative_entropy
    require(
        abs(gap) < 5 * error + TOLERANCE,
        f"mean log_prob of samples is {gap:+.3f} nats off what is expected (error {error:.3f})",
    )
    return f"mean log_prob within {abs(gap):.3f} nats of its expectation"
