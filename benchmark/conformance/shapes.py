"""Promises in the space of a data set: shapes, range, dtype, seeds, a state that restores."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmark.conformance.promises import (
    BUDGET,
    Check,
    NotPromised,
    attempt,
    claims,
    fit,
    require,
)
from benchmark.randomness import fork_rng
from benchmark.sampling import check_samples, completions
from benchmark.spec import (
    BoundedDensity,
    Completer,
    DataSpec,
    Density,
    Encoder,
    Generator,
    LatentModel,
    Trainable,
)


def check_on_data(model: Any, train: Tensor, validation: Tensor) -> list[Check]:
    """Fitting, sampling and likelihood in the space of a data set."""
    with fork_rng(1):
        return [
            attempt(
                "fit(train, validation, budget, log) runs", lambda: _fits(model, train, validation)
            ),
            attempt("sample(n) gives what the DataSpec says", lambda: _samples(model)),
            attempt("sample(n) repeats under a seed", lambda: _repeats(model)),
            attempt(
                "complete(x, rows) keeps the first rows", lambda: _completes(model, validation)
            ),
            attempt("log_prob gives [n] finite nats", lambda: _log_prob(model, validation)),
            attempt("log_prob_bound gives [n] finite nats", lambda: _bound(model, validation)),
        ]


def check_latents(model: Any, x: Tensor) -> list[Check]:
    """Shapes of prior, decoder, generator and encoder."""
    with fork_rng(3), torch.no_grad():
        return [
            attempt("decode(z) is a distribution over examples", lambda: _decodes(model, x)),
            attempt("generate(z) gives finite floats like examples", lambda: _generates(model, x)),
            attempt("encode(x) is a distribution over latents", lambda: _encodes(model, x)),
        ]


def _fits(model: Any, train: Tensor, validation: Tensor) -> str:
    claims(model, Trainable, "fit: it is used as it is built")
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

    require(
        torch.equal(draw(5), draw(5)), "two draws under one seed differ: use torch's generator"
    )
    return "equal under one seed"


def _completes(model: Any, x: Tensor) -> str:
    claims(model, Completer, "complete")
    if not model.spec.is_image:
        raise NotPromised("points have no rows")
    with torch.no_grad():
        drawn = completions(model, x[:2], model.spec)
    return f"{len(drawn)} times the lower half"


def _log_prob(model: Any, x: Tensor) -> str:
    claims(model, Density, "log_prob: no exact likelihood")
    return _nats(model.log_prob, x, model.spec)


def _bound(model: Any, x: Tensor) -> str:
    claims(model, BoundedDensity, "log_prob_bound")
    return _nats(model.log_prob_bound, x, model.spec)


def _nats(function: Callable[[Tensor], Tensor], x: Tensor, spec: DataSpec) -> str:
    with torch.no_grad():
        values = function(x)
    require(tuple(values.shape) == (len(x),), f"gave {list(values.shape)} for {len(x)} examples")
    require(bool(values.isfinite().all()), "some values are not finite")
    most = values.max().item()
    require(
        not spec.is_image or most <= 1e-4,
        f"an image has log-mass {most:.3g} > 0: images are discrete, a density won't do",
    )
    return f"mean {values.mean().item():.4g}"


def _decodes(model: Any, x: Tensor) -> str:
    claims(model, LatentModel, "prior and decode")
    z = model.prior().sample(torch.Size((3, len(x))))
    decoded = model.decode(z)
    require(
        tuple(decoded.event_shape) == model.spec.shape,
        f"event shape is {list(decoded.event_shape)}, not {list(model.spec.shape)}",
    )
    log_prob = decoded.log_prob(x)
    require(
        tuple(log_prob.shape) == (3, len(x)), f"z [3, {len(x)}, d] gave {list(log_prob.shape)}"
    )
    return f"{z.shape[-1]} latents"


def _generates(model: Any, x: Tensor) -> str:
    claims(model, Generator, "prior and generate")
    z = model.prior().sample(torch.Size((3, len(x))))
    generated = model.generate(z)
    expected = (3, len(x), *model.spec.shape)
    require(
        tuple(generated.shape) == expected,
        f"z [3, {len(x)}, d] gave {list(generated.shape)}, not {list(expected)}",
    )
    require(
        generated.is_floating_point(),
        f"gave {generated.dtype}: images, too, are floats before they are rounded to levels",
    )
    unusable = int((~generated.isfinite()).sum())
    require(unusable == 0, f"{unusable} generated numbers are not finite")
    return f"{z.shape[-1]} latents"


def _encodes(model: Any, x: Tensor) -> str:
    claims(model, Encoder, "encode")
    posterior = model.encode(x)
    z = posterior.sample(torch.Size((3,)))
    shape = tuple(posterior.log_prob(z).shape)
    require(shape == (3, len(x)), f"log_prob of 3 draws for {len(x)} examples is {list(shape)}")
    return f"{z.shape[-1]} latents"


def restores(make: Callable[[DataSpec], Any], model: Any) -> str:
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
    require(torch.equal(first, second), "the copy samples otherwise: some state is not in it")
    return "samples alike"
