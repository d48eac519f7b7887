"""f-divergences between data and samples, as what a discriminator estimates from below."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


@dataclass(frozen=True)
class Divergence:
    """D_f(P || Q) = E_Q[f(p / q)], of the data P from the samples Q.

    Any discriminator with raw output v gives the lower bound E_P[g(v)] - E_Q[f*(g(v))], and one
    with g(v) = f'(p / q) gives the divergence itself.

    Args:
        activation: g, which takes a raw output to where the conjugate f* is finite.
        conjugate: f*(g(v)) as a function of v, simplified so that nothing is lost to rounding.

    Source: Nowozin et al. 2016, arXiv:1606.00709, eq. 6; f* and g of table 6.
    """

    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]

    def discriminator_loss(self, real: Tensor, generated: Tensor) -> Tensor:
        """Minus the bound, [...] nats, from raw outputs [..., n] and [..., m]."""
        return self.conjugate(generated).mean(dim=-1) - self.activation(real).mean(dim=-1)

    def generator_loss(self, generated: Tensor) -> Tensor:
        """The part of the bound that samples move, [...] nats, from raw outputs [..., m]."""
        return -self.conjugate(generated).mean(dim=-1)


# Jensen-Shannon means KL(P || M) + KL(Q || M) with M = (P + Q) / 2, without the usual half: the
# minimax game but for a constant. Pearson's is E_Q[(p / q - 1)^2].
DIVERGENCES = {
    "kl": Divergence(  # f = u log u
        activation=lambda v: v,
        conjugate=lambda v: torch.exp(v - 1),
    ),
    "reverse_kl": Divergence(  # f = -log u
        activation=lambda v: -torch.exp(-v),
        conjugate=lambda v: v - 1,
    ),
    "pearson": Divergence(  # f = (u - 1)^2
        activation=lambda v: v,
        conjugate=lambda v: v.square() / 4 + v,
    ),
    "jensen_shannon": Divergence(  # f = u log u - (u + 1) log((u + 1) / 2)
        activation=lambda v: math.log(2) + logsigmoid(v),
        conjugate=lambda v: softplus(v) - math.log(2),
    ),
    "squared_hellinger": Divergence(  # f = (sqrt(u) - 1)^2
        activation=lambda v: 1 - torch.exp(-v),
        conjugate=lambda v: torch.exp(v) - 1,
    ),
}
