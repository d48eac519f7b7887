"""Whether a model keeps the promises of `benchmark.spec`, on spaces small enough to be sure.

The same checks run over the zoo in the tests and over a user's model in `check`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.data import load_dataset
from benchmark.models import build, capabilities
from benchmark.randomness import fork_rng, generator
from benchmark.run import check_samples
from benchmark.spec import BoundedDensity, DataSpec, Density, Encoder, LatentModel, Trainable
from benchmark.training_log import TrainingLog

TINY = DataSpec((1, 2, 2), levels=3)
EVERY_IMAGE = torch.tensor(list(product(range(3), repeat=4)), dtype=torch.uint8).view(
    81, *TINY.shape
)
PLANE = DataSpec((2,))
GRID_REACH, GRID_POINTS, COARSE_GRID_POINTS = 8.0, 500, 150
BUDGET = 0.002  # of the training length: enough to leave the initial weights
DRAWS = 100  # of a random bound, whose mean is what is promised
TOLERANCE = 0.02  # of a sum or an integral that should be one


@dataclass(frozen=True)
class Check:
    """One promise: kept, broken (False), or not one that this model makes (None)."""

    promise: str
    kept: bool | None
    seen: str


class NotPromised(Exception):
    """The model does not claim this capability; the message says what is missing."""


def check_model(factory: str, data: str, data_root: Path | None = None) -> list[Check]:
    """Checks a model on the spec of a data set, and on the tiny space of the same kind.

    Raises:
        UserError: the factory or the data cannot be found, or the constructor refuses.
    """
    dataset = load_dataset(data, data_root)
    make = partial(build, factory, settings={})
    model = make(dataset.spec)
    checks = [Check("can do", True, ", ".join(capabilities(model)))]
    checks += check_on_data(model, dataset.train[:500], dataset.validation[:100])
    if any(check.kept is False for check in checks):
        return checks
    checks += check_latents(model, dataset.test[:4])
    checks.append(_attempt("a copy restores from its state_dict", lambda: _restores(make, model)))
    return checks + check_small(make, dataset.spec.is_image)


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
        return [Check(f"builds and fits {place}", None, _line(error))]
    total = _sums_to_one if images else _integrates_to_one
    bound = _bound_sums_to_at_most_one if images else _bound_integrates_to_at_most_one
    follows = _samples_follow_the_mass if images else _samples_follow_the_density
    return [
        _attempt(f"log_prob adds up to one {place}", lambda: total(model)),
        _attempt(f"log_prob_bound adds up to at most one {place}", lambda: bound(model)),
        _attempt(f"samples follow log_prob {place}", lambda: follows(model)),
    ]


def check_on_data(model: Any, train: Tensor, validation: Tensor) -> list[Check]:
    """Fitting, sampling and likelihood in the space of a data set."""
    with fork_rng(1):
        return [
            _attempt(
                "fit(train, validation, budget, log) runs", lambda: _fits(model, train, validation)
            ),
            _attempt("sample(n) gives what the DataSpec says", lambda: _samples(model)),
            _attempt("sample(n) repeats under a seed", lambda: _repeats(model)),
            _attempt("log_prob gives [n] finite nats", lambda: _log_prob(model, validation)),
            _attempt("log_prob_bound gives [n] finite nats", lambda: _bound(model, validation)),
        ]


def check_latents(model: Any, x: Tensor) -> list[Check]:
    """Shapes of prior, decoder and encoder."""
    with fork_rng(3), torch.no_grad():
        return [
            _attempt("decode(z) is a distribution over examples", lambda: _decodes(model, x)),
            _attempt("encode(x) is a distribution over latents", lambda: _encodes(model, x)),
        ]


def fit(model: Any, train: Tensor, validation: Tensor) -> None:
    """Trains for a moment, keeping nothing."""
    if isinstance(model, Trainable):
        model.fit(train, validation, BUDGET, TrainingLog(None, "32-true"))
    if isinstance(model, nn.Module):
        model.eval()


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


def _attempt(promise: str, look: Callable[[], str]) -> Check:
    try:
        return Check(promise, True, look())
    except NotPromised as reason:
        return Check(promise, None, str(reason))
    except Exception as error:
        return Check(promise, False, _line(error))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _require(kept: bool, complaint: str) -> None:
    if not kept:
        raise ValueError(complaint)


def _claims(model: object, protocol: type, method: str) -> None:
    if not isinstance(model, protocol):
        raise NotPromised(f"has no {method}")


def _fits(model: Any, train: Tensor, validation: Tensor) -> str:
    _claims(model, Trainable, "fit: it is used as it is built")
    fit(model, train, validation)
    return f"on {len(train)} examples at budget {BUDGET}"


def _samples(model: Any) -> str:
    with torch.no_grad():
        drawn = torch.as_tensor(model.sample(7)).cpu()
    check_samples(drawn, model.spec, 7)
    return f"{drawn.dtype}, {list(drawn.shape)}".replace("torch.", "")


def _repeats(model: Any) -> str:
    def draw(seed: int) -> Tensor:
        with fork_rng(seed), torch.no_grad():
            return torch.as_tensor(model.sample(5))

    _require(
        torch.equal(draw(5), draw(5)), "two draws under one seed differ: use torch's generator"
    )
    return "equal under one seed"


def _log_prob(model: Any, x: Tensor) -> str:
    _claims(model, Density, "log_prob: no exact likelihood")
    return _nats(model.log_prob, x, model.spec)


def _bound(model: Any, x: Tensor) -> str:
    _claims(model, BoundedDensity, "log_prob_bound")
    return _nats(model.log_prob_bound, x, model.spec)


def _nats(function: Callable[[Tensor], Tensor], x: Tensor, spec: DataSpec) -> str:
    with torch.no_grad():
        values = function(x)
    _require(tuple(values.shape) == (len(x),), f"gave {list(values.shape)} for {len(x)} examples")
    _require(bool(values.isfinite().all()), "some values are not finite")
    most = values.max().item()
    _require(
        not spec.is_image or most <= 1e-4,
        f"an image has log-mass {most:.3g} > 0: images are discrete, a density won't do",
    )
    return f"mean {values.mean().item():.4g}"


def _decodes(model: Any, x: Tensor) -> str:
    _claims(model, LatentModel, "prior and decode")
    z = model.prior().sample(torch.Size((3, len(x))))
    decoded = model.decode(z)
    _require(
        tuple(decoded.event_shape) == model.spec.shape,
        f"event shape is {list(decoded.event_shape)}, not {list(model.spec.shape)}",
    )
    log_prob = decoded.log_prob(x)
    _require(
        tuple(log_prob.shape) == (3, len(x)), f"z [3, {len(x)}, d] gave {list(log_prob.shape)}"
    )
    return f"{z.shape[-1]} latents"


def _encodes(model: Any, x: Tensor) -> str:
    _claims(model, Encoder, "encode")
    posterior = model.encode(x)
    z = posterior.sample(torch.Size((3,)))
    shape = tuple(posterior.log_prob(z).shape)
    _require(shape == (3, len(x)), f"log_prob of 3 draws for {len(x)} examples is {list(shape)}")
    return f"{z.shape[-1]} latents"


def _restores(make: Callable[[DataSpec], Any], model: Any) -> str:
    if not hasattr(model, "state_dict"):
        raise NotPromised("is no torch module: it is fitted again after an interruption")
    copy = make(model.spec)
    copy.load_state_dict(model.state_dict())
    copy.eval()
    with torch.no_grad():
        with fork_rng(9):
            first = model.sample(5)
        with fork_rng(9):
            second = copy.sample(5)
    _require(torch.equal(first, second), "the copy samples otherwise: some state is not in it")
    return "samples alike"


def _sums_to_one(model: Any) -> str:
    _claims(model, Density, "log_prob")
    with torch.no_grad():
        total = model.log_prob(EVERY_IMAGE).double().exp().sum().item()
    _require(abs(total - 1) < 1e-4, f"the masses of all 81 images add up to {total:.6f}")
    return f"{total:.6f}"


def _bound_sums_to_at_most_one(model: Any) -> str:
    _claims(model, BoundedDensity, "log_prob_bound")
    with fork_rng(4), torch.no_grad():
        draws = torch.stack([model.log_prob_bound(EVERY_IMAGE).double() for _ in range(DRAWS)])
    total = draws.mean(dim=0).exp().sum().item()
    _require(total <= 1 + TOLERANCE, f"exp(bound) of all 81 images adds up to {total:.4f}")
    return f"{total:.4f}"


def _on_grid(function: Callable[[Tensor], Tensor], points: int) -> tuple[Tensor, float]:
    """[points^2] values at cell centres of the plane, and the area of a cell."""
    step = 2 * GRID_REACH / points
    side = torch.arange(points) * step - GRID_REACH + step / 2
    with fork_rng(6), torch.no_grad():
        parts = [function(x).double() for x in torch.cartesian_prod(side, side).split(50_000)]
    return torch.cat(parts), step**2


def _integrates_to_one(model: Any) -> str:
    _claims(model, Density, "log_prob")
    values, area = _on_grid(model.log_prob, GRID_POINTS)
    total = values.exp().sum().item() * area
    _require(abs(total - 1) < TOLERANCE, f"the density integrates to {total:.4f}")
    return f"{total:.4f}"


def _bound_integrates_to_at_most_one(model: Any) -> str:
    _claims(model, BoundedDensity, "log_prob_bound")

    def mean_bound(x: Tensor) -> Tensor:
        return torch.stack([model.log_prob_bound(x) for _ in range(DRAWS)]).mean(dim=0)

    values, area = _on_grid(mean_bound, COARSE_GRID_POINTS)
    total = values.exp().sum().item() * area
    _require(total <= 1 + TOLERANCE, f"exp(bound) integrates to {total:.4f}")
    return f"{total:.4f}"


def _samples_follow_the_mass(model: Any) -> str:
    _claims(model, Density, "log_prob")
    count = 4_000
    with fork_rng(7), torch.no_grad():
        drawn = model.sample(count).flatten(1).long()
        expected = model.log_prob(EVERY_IMAGE).double().exp() * count
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(dim=1)
    observed = torch.bincount(index, minlength=81).double()
    p_value = _chi_square(observed, expected)
    _require(
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
    _claims(model, Density, "log_prob")
    values, area = _on_grid(model.log_prob, GRID_POINTS)
    negative_entropy = (values.exp() * values).nan_to_num().sum().item() * area
    with fork_rng(8), torch.no_grad():
        at_samples = model.log_prob(model.sample(4_000)).double()
    error = at_samples.std().item() / math.sqrt(len(at_samples))
    gap = at_samples.mean().item() - negative_entropy
    _require(
        abs(gap) < 5 * error + TOLERANCE,
        f"mean log_prob of samples is {gap:+.3f} nats off what is expected (error {error:.3f})",
    )
    return f"mean log_prob within {abs(gap):.3f} nats of its expectation"
