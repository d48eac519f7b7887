"""log p(x given z) and its gradient with respect to z, for chains of z beside each datum."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal
from torch.nn.functional import softplus

from benchmark.estimators.importance import EVALUATIONS
from benchmark.estimators.latents import StandardLatents


@dataclass(frozen=True)
class _Block:
    """Chains z [n, chains, latents] beside x [n, 1, *shape], and x in the proposal's dtype."""

    z: Tensor
    x: Tensor
    numbers: Tensor


class Likelihood:
    """Evaluates p(x given z) for z [n, chains, latents], keeping no graph between calls.

    Bernoulli pixels and Gaussian coordinates of fixed scale have their value and score in closed
    form, which saves most of what automatic differentiation spends on the observation.

    Args:
        model: gives p(x given z).
        x: [n, *shape] data.
        proposal_dtype: of the decoder in `gradient`, for proposals that may be inexact; float32
            parameters are cast as automatic mixed precision casts them. None for full precision.

    Raises:
        ValueError: p(x given z) is Bernoulli and the data are not binary, which the closed form
            would not notice.
    """

    def __init__(
        self, model: StandardLatents, x: Tensor, proposal_dtype: torch.dtype | None = None
    ) -> None:
        self.model = model
        self.proposal_dtype = proposal_dtype
        self.x = x.unsqueeze(1)
        self.numbers = self.x.to(proposal_dtype or torch.float32)
        with torch.no_grad():
            at_centre = _innermost(model.decode(torch.zeros(1, 1, model.latents, device=x.device)))
        if isinstance(at_centre, Bernoulli) and not bool(((x == 0) | (x == 1)).all()):
            raise ValueError(
                "p(x given z) is Bernoulli, but the data hold other values than 0 and 1: they are "
                "outside the decoder's support"
            )

    def value(self, z: Tensor) -> Tensor:
        """[n, chains] log p(x given z), nats."""
        return torch.cat([self._value(block) for block in self._blocks(z)])

    def value_and_gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The value [n, chains] in full precision, and what `gradient` gives."""
        both = [self._value_and_gradient(block) for block in self._blocks(z)]
        return torch.cat([value for value, _ in both]), torch.cat([slope for _, slope in both])

    def gradient(self, z: Tensor) -> Tensor:
        """[n, chains, latents] gradient of log p(x given z), in the proposal's precision."""
        return torch.cat([self._gradient(block) for block in self._blocks(z)])

    def _blocks(self, z: Tensor) -> Iterator[_Block]:
        """What can be decoded at once, on a CPU by all its cores together."""
        at_once = EVALUATIONS[z.device.type] * (1 if z.is_cuda else torch.get_num_threads())
        parts = min(len(z), math.ceil(z[..., 0].numel() / at_once))
        return map(_Block, *(whole.tensor_split(parts) for whole in (z, self.x, self.numbers)))

    def _value(self, block: _Block) -> Tensor:
        with torch.no_grad():
            return self.model.decode(block.z).log_prob(block.x)

    def _value_and_gradient(self, block: _Block) -> tuple[Tensor, Tensor]:
        if self.proposal_dtype is not None:
            return self._value(block), self._gradient(block)
        z = block.z.detach().requires_grad_()
        with torch.enable_grad():
            distribution = self.model.decode(z)
        known = _closed_form(distribution, block.numbers)
        if known is None:
            with torch.enable_grad():
                value = distribution.log_prob(block.x)
            return value.detach(), _pull_back(value, torch.ones_like(value), z)
        return known.value(), _pull_back(known.parameter, known.score(), z)

    def _gradient(self, block: _Block) -> Tensor:
        z = block.z.detach().requires_grad_()
        with torch.enable_grad(), self._autocast(z.device.type):
            distribution = self.model.decode(z)
            output, cotangent = _score(distribution, block.x, block.numbers)
        return _pull_back(output, cotangent, z)

    def simulated_score(self, z: Tensor) -> Tensor:
        """[n, chains, latents] gradient of log p(x given z) for an x drawn there, not the data."""
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            distribution = self.model.decode(z)
            with torch.no_grad():
                x = distribution.sample()
            output, cotangent = _score(distribution, x, x)
        return _pull_back(output, cotangent, z)

    def _autocast(self, device: str) -> AbstractContextManager:
        if self.proposal_dtype is None:
            return nullcontext()
        return torch.autocast(device, self.proposal_dtype)


class _Bernoulli:
    """Bernoulli pixels, by their logits [n, chains, *shape]."""

    def __init__(self, distribution: Bernoulli, x: Tensor) -> None:
        self.parameter, self.x = distribution.logits, x

    def value(self) -> Tensor:
        logits, x = self.parameter.detach().flatten(2), self.x.flatten(2)
        return (logits @ x.mT.to(logits)).squeeze(2) - softplus(logits).sum(dim=2)

    def score(self) -> Tensor:
        chance = torch.sigmoid(self.parameter.detach())
        return torch.sub(self.x, chance, out=chance)


class _FixedNormal:
    """Gaussian coordinates whose scale does not depend on z."""

    def __init__(self, distribution: Normal, x: Tensor) -> None:
        self.parameter, self.x, self.scale = distribution.loc, x, distribution.scale

    def value(self) -> Tensor:
        loc, scale = self.parameter.detach(), self.scale.detach()
        standardised = ((self.x - loc) / scale).flatten(2).square().sum(dim=2)
        volume = (scale.log() + 0.5 * math.log(2 * math.pi)).expand_as(loc).flatten(2).sum(dim=2)
        return -0.5 * standardised - volume

    def score(self) -> Tensor:
        return (self.x - self.parameter.detach()) / self.scale.detach().square()


def _closed_form(distribution: Distribution, x: Tensor) -> "_Bernoulli | _FixedNormal | None":
    """Log-likelihood and score without automatic differentiation, where a form is known."""
    event, base = distribution.event_shape, _innermost(distribution)
    if len(distribution.batch_shape) != 2 or base.batch_shape[2:] != event:
        return None
    if type(base) is Bernoulli and "logits" in vars(base):
        return _Bernoulli(base, x)
    if type(base) is Normal and not base.scale.requires_grad:
        return _FixedNormal(base, x)
    return None


def _innermost(distribution: Distribution) -> Distribution:
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def _score(distribution: Distribution, x: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """An output of the graph and what to pull back through it; `numbers` is x in its dtype."""
    known = _closed_form(distribution, numbers)
    if known is not None:
        return known.parameter, known.score()
    value = distribution.log_prob(x)
    return value, torch.ones_like(value)


def _pull_back(output: Tensor, cotangent: Tensor, z: Tensor) -> Tensor:
    """The gradient of <output, cotangent>; zero where the output does not depend on z."""
    if not output.requires_grad:
        return torch.zeros_like(z)
    cotangent = cotangent.to(output.dtype)
    (gradient,) = torch.autograd.grad(output, z, cotangent, allow_unused=True)
    return torch.zeros_like(z) if gradient is None else gradient
