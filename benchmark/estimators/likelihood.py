"""log p(x given z) and its gradient with respect to z, for chains of z beside each datum."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from benchmark.estimators.latents import StandardLatents


class Likelihood:
    """Evaluates p(x given z) for z [n, chains, latents], keeping no graph between calls.

    Gradients through a Bernoulli or a Gaussian of fixed scale start from the closed form of the
    score, which saves most of what automatic differentiation spends on the observation.

    Args:
        model: gives p(x given z).
        x: [n, *shape] data.
        proposal_dtype: of the decoder in `gradient`, for proposals that may be inexact; float32
            parameters are cast as automatic mixed precision casts them. None for full precision.
    """

    def __init__(
        self, model: StandardLatents, x: Tensor, proposal_dtype: torch.dtype | None = None
    ) -> None:
        self.model = model
        self.x = x.unsqueeze(1)
        self.proposal_dtype = proposal_dtype
        self.numbers = self.x.to(proposal_dtype or torch.float32)

    def value(self, z: Tensor) -> Tensor:
        """[n, chains] log p(x given z), nats."""
        with torch.no_grad():
            return self.model.decode(z).log_prob(self.x)

    def value_and_gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The value [n, chains] in full precision, and what `gradient` gives."""
        if self.proposal_dtype is not None:
            return self.value(z), self.gradient(z)
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            distribution = self.model.decode(z)
        shortcut = _score(distribution, self.numbers)
        if shortcut is None:
            with torch.enable_grad():
                value = distribution.log_prob(self.x)
            return value.detach(), _pull_back(value, torch.ones_like(value), z)
        with torch.no_grad():
            value = distribution.log_prob(self.x)
        return value, _pull_back(*shortcut, z)

    def gradient(self, z: Tensor) -> Tensor:
        """[n, chains, latents] gradient of log p(x given z), in the proposal's precision."""
        z = z.detach().requires_grad_()
        with torch.enable_grad(), self._autocast(z.device.type):
            distribution = self.model.decode(z)
            shortcut = _score(distribution, self.numbers)
            if shortcut is None:
                value = distribution.log_prob(self.x)
                shortcut = value, torch.ones_like(value)
        return _pull_back(*shortcut, z)

    def simulated_score(self, z: Tensor) -> Tensor:
        """[n, chains, latents] gradient of log p(x given z) for an x drawn there, not the data."""
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            distribution = self.model.decode(z)
            with torch.no_grad():
                x = distribution.sample()
            shortcut = _score(distribution, x)
            if shortcut is None:
                value = distribution.log_prob(x)
                shortcut = value, torch.ones_like(value)
        return _pull_back(*shortcut, z)

    def _autocast(self, device: str) -> AbstractContextManager:
        if self.proposal_dtype is None:
            return nullcontext()
        return torch.autocast(device, self.proposal_dtype)


def _score(distribution: Distribution, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """A parameter in the graph and d log p(x) / d parameter, where there is a closed form."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    with torch.no_grad():
        if type(distribution) is Bernoulli and "logits" in vars(distribution):
            logits = distribution.logits
            return logits, torch.sigmoid(logits).neg_().add_(x)
        if type(distribution) is Normal and not distribution.scale.requires_grad:
            return distribution.loc, (x - distribution.loc) / distribution.scale.square()
    return None


def _pull_back(output: Tensor, cotangent: Tensor, z: Tensor) -> Tensor:
    """The gradient of <output, cotangent>; zero where the output does not depend on z."""
    if not output.requires_grad:
        return torch.zeros_like(z)
    cotangent = cotangent.to(output.dtype)
    (gradient,) = torch.autograd.grad(output, z, cotangent, allow_unused=True)
    return torch.zeros_like(z) if gradient is None else gradient
