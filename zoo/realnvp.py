"""RealNVP: an invertible network of affine couplings, its density by the change of variables."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from benchmark.spec import DataSpec
from zoo.exact import DensityNetwork, ExactDensity
from zoo.layers import mlp

MOST_LOG_SCALE = 1.0  # of one coupling: steeper ones make training unsteady
LEAST_LOG_SCALE = -7.0  # of the base: keeps a component on a single example finite


class RealNVP(ExactDensity):
    """x is an invertible function of z, and z of a mixture of Gaussians that is learnt too.

    An invertible continuous function of one Gaussian cannot have separate modes: it leaves
    threads between them. A mixture as the base lets each mode have a component.

    Args:
        steps: of training, at budget 1.
        couplings: how many; each changes one half of the coordinates given the other.
        width: units of a hidden layer.
        components: Gaussians in the base; 1 for a fixed standard normal, as in the source.
        ema_decay: of the averaged weights that are kept, 0 for none.

    Source: Dinh et al. 2017, arXiv:1605.08803, eqs. 3-8; the mixture in Izmailov et al. 2020,
    arXiv:1912.13025, section 3.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: int = 4_000,
        batch_size: int = 256,
        couplings: int = 4,
        width: int = 64,
        components: int = 64,
        learning_rate: float = 5e-3,
        ema_decay: float = 0.995,
    ) -> None:
        if spec.dims < 2:
            raise ValueError("a coupling needs two coordinates or more, the data have 1")
        if min(couplings, width, components) < 1:
            raise ValueError(
                f"couplings, width and components must be positive, got {couplings}, {width} and "
                f"{components}"
            )
        super().__init__(
            spec,
            Flow(spec.dims, couplings, width, components),
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
        )


class Flow(DensityNetwork):
    """Couplings that take scaled points to the base, and back."""

    def __init__(self, dims: int, couplings: int, width: int, components: int) -> None:
        super().__init__()
        self.numbers = dims * components
        halves = (dims // 2, dims - dims // 2)
        self.couplings = nn.ModuleList(
            Coupling(halves[i % 2], halves[1 - i % 2], width) for i in range(couplings)
        )
        self.base: MixtureBase | NormalBase
        self.base = MixtureBase(dims, components) if components > 1 else NormalBase(dims)

    def forward(self, scaled: Tensor) -> Tensor:
        """Log-density of scaled points [n, d], [n] nats."""
        z, log_volume = self.inverse(scaled)
        return self.base(z) + log_volume

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The z [n, d] of which x is the image, and log |det dz/dx| [n]."""
        log_volume = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, log_scale = coupling(x)
            log_volume = log_volume + log_scale
        return x, log_volume

    def sample(self, n: int) -> Tensor:
        """Draws scaled points [n, d]."""
        x = self.base.sample(n)
        for coupling in reversed(self.couplings):
            x = cast(Coupling, coupling).undo(x)
        return x


class Coupling(nn.Module):
    """Keeps the first coordinates, shifts and scales the others by what it reads off the first.

    The two parts change places, so that the next coupling changes those that this one keeps.

    Args:
        kept: number of coordinates that stay.
        moved: number of those that change.
        width: units of the two hidden layers.
    """

    def __init__(self, kept: int, moved: int, width: int) -> None:
        super().__init__()
        self.kept, self.moved = kept, moved
        self.network = mlp([kept, width, width, 2 * moved], nn.ReLU)
        last = cast(nn.Linear, self.network[-1])
        with torch.no_grad():  # almost the identity
            last.weight.mul_(0.1)
            last.bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gives [n, d] and the logarithm of the factor by which volume grows, [n]."""
        kept, moved = x.split([self.kept, self.moved], dim=1)
        log_scale, shift = self._terms(kept)
        changed = (moved + shift) * torch.exp(log_scale)
        return torch.cat([changed, kept], dim=1), log_scale.sum(dim=1)

    def undo(self, y: Tensor) -> Tensor:
        """The x [n, d] that `forward` takes to y."""
        changed, kept = y.split([self.moved, self.kept], dim=1)
        log_scale, shift = self._terms(kept)
        return torch.cat([kept, changed * torch.exp(-log_scale) - shift], dim=1)

    def _terms(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.network(kept).chunk(2, dim=1)
        return MOST_LOG_SCALE * torch.tanh(log_scale / MOST_LOG_SCALE), shift


class NormalBase(nn.Module):
    """N(0, I)."""

    zero: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(dims), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, len(self.zero), device=self.zero.device)


class MixtureBase(nn.Module):
    """sum_k w_k N(m_k, diag(s_k^2)), everything learnt."""

    def __init__(self, dims: int, components: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(1.5 * torch.randn(components, dims))
        self.log_scales = nn.Parameter(torch.full((components, dims), -1.0))

    def forward(self, z: Tensor) -> Tensor:
        """Log-density of z [n, d], [n] nats.

        The squares are written out, so that all pairs of a point and a component are two products
        of matrices: in 1,200 dimensions the pairs themselves are what takes the time. They cancel,
        which float64 can afford.
        """
        log_scales = self.log_scales.clamp(min=LEAST_LOG_SCALE)
        precisions = torch.exp(-2 * log_scales).double()
        means, z = self.means.double(), z.double()
        errors = (
            z.square() @ precisions.mT
            - 2 * z @ (means * precisions).mT
            + (means.square() * precisions).sum(dim=1)
        )
        constant = 0.5 * math.log(2 * math.pi) * z.shape[1] + log_scales.sum(dim=1)
        terms = self.logits.log_softmax(dim=0) - constant - 0.5 * errors
        return torch.logsumexp(terms, dim=1).to(self.means)

    def sample(self, n: int) -> Tensor:
        chosen = torch.multinomial(self.logits.softmax(dim=0), n, replacement=True)
        scales = self.log_scales.clamp(min=LEAST_LOG_SCALE).exp()
        return torch.normal(self.means[chosen], scales[chosen])
