"""The path of densities from a start that can be sampled to the posterior p(z given x)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.estimators.latents import Gaussian
from benchmark.estimators.likelihood import Likelihood

FAR = 100.0  # standard deviations: a NaN farther out is the integrator's fault, not the model's
FARTHEST = 1e9  # where lost trajectories are decoded: distributions refuse NaN


@dataclass(frozen=True)
class Position:
    """Chains and all that is known where they are; nothing of it depends on the temperature.

    Args:
        u: [n, chains, latents] in the path's coordinates.
        log_start: [n, chains] log density of the start, up to a constant, nats, float64.
        gain: [n, chains] log p(x, z) minus the log density of the start, nats, float64.
        gain_gradient: [n, chains, latents] with respect to u.
    """

    u: Tensor
    log_start: Tensor
    gain: Tensor
    gain_gradient: Tensor

    def log_density(self, beta: Tensor) -> Tensor:
        """[n, chains] unnormalised, at inverse temperatures [n, 1]."""
        return self.log_start + beta * self.gain

    def where(self, chosen: Tensor, other: "Position") -> "Position":
        """These where `chosen` [n, chains], else the others."""
        vectors = chosen.unsqueeze(2)
        return Position(
            torch.where(vectors, self.u, other.u),
            torch.where(chosen, self.log_start, other.log_start),
            torch.where(chosen, self.gain, other.gain),
            torch.where(vectors, self.gain_gradient, other.gain_gradient),
        )

    def take(self, chains: Tensor) -> "Position":
        """Those of the chains [n, chains], with repetitions."""
        vectors = chains.unsqueeze(2).expand_as(self.u)
        return Position(
            self.u.gather(1, vectors),
            self.log_start.gather(1, chains),
            self.gain.gather(1, chains),
            self.gain_gradient.gather(1, vectors),
        )


class Path:
    """start(z)^(1 - beta) p(x, z)^beta, in coordinates u with z = mean + factor u.

    The prior is N(0, I) in z, the start N(mean, factor factor^T), thus N(0, I) in u.

    Args:
        likelihood: of the data.
        start: where the path sets out.
        from_prior: whether the start is the prior, however rotated; then it cancels.
    """

    def __init__(self, likelihood: Likelihood, start: Gaussian, from_prior: bool) -> None:
        self.likelihood, self.start, self.from_prior = likelihood, start, from_prior
        self.faults = torch.zeros((), dtype=torch.long, device=start.mean.device)
        self._log_volume = start.log_volume.unsqueeze(1).double()

    def draw(self, chains: int) -> Position:
        """Independent chains from the start."""
        n, latents = self.start.mean.shape
        return self.evaluate(torch.randn(n, chains, latents, device=self.start.mean.device))

    def z(self, u: Tensor) -> Tensor:
        u = u.nan_to_num(0.0).clamp(-FARTHEST, FARTHEST)
        return torch.baddbmm(self.start.mean.unsqueeze(1), u, self.start.factor.mT)

    def u(self, z: Tensor) -> Tensor:
        """The coordinates of latents z [n, chains, latents]."""
        return torch.linalg.solve(self.start.factor, (z - self.start.mean.unsqueeze(1)).mT).mT

    def evaluate(self, u: Tensor) -> Position:
        """The chains at u, and a count of the places where the decoder gave NaN."""
        z = self.z(u)
        value, gradient = self.likelihood.value_and_gradient(z)
        self.faults += (value.isnan() & (u.abs().amax(dim=2) < FAR)).sum()
        # In float64: far from a narrow start both densities are huge, and nearly cancel.
        log_start = -0.5 * u.double().square().sum(dim=2)
        value = value.double()
        if not self.from_prior:
            value = value - 0.5 * z.double().square().sum(dim=2) - log_start + self._log_volume
        return Position(u, log_start, value, self._in_coordinates(u, z, gradient))

    def gain_gradient(self, u: Tensor) -> Tensor:
        """[n, chains, latents], in the precision of proposals."""
        z = self.z(u)
        return self._in_coordinates(u, z, self.likelihood.gradient(z))

    def slope(self, u: Tensor, gain_gradient: Tensor, beta: Tensor) -> Tensor:
        """[n, chains, latents] gradient of the log density at inverse temperatures [n, 1]."""
        return torch.addcmul(-u, beta.unsqueeze(2), gain_gradient)

    def _in_coordinates(self, u: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        if self.from_prior:
            return gradient @ self.start.factor
        return torch.baddbmm(u, gradient - z, self.start.factor)
