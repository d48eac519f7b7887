"""What bounds a discriminator's slope: penalties on it, clipped and normalised weights."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

Critic = Callable[[Tensor], Tensor]

WARM_UP = 15  # steps of power iteration before the first use
SPREAD = 0.5  # of DRAGAN's noise, in standard deviations of the data


def gradient_penalty(critic: Critic, real: Tensor, generated: Tensor) -> Tensor:
    """E[(|grad D(u)| - 1)^2] at points u drawn evenly from lines between real and generated.

    Args:
        critic: gives [S, n] scores of [S, n, *shape], each depending on its own example only (so
            no batch normalisation).
        real: [S, n, *shape] for S independent critics, paired in order with
        generated: [S, n, *shape].

    Returns:
        [S] numbers, non-negative.

    Source: Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.
    """
    sides = (*real.shape[:2], *[1] * (real.ndim - 2))
    share = torch.rand(sides, device=real.device, dtype=real.dtype)
    return slope_error(critic, torch.lerp(generated, real, share))


def dragan_penalty(critic: Critic, real: Tensor, generated: Tensor) -> Tensor:
    """E[(|grad D(x + noise)| - 1)^2] at real x [S, n, *shape], with normal noise; gives [S].

    The noise has half the standard deviation of the batch's numbers. Samples play no part.

    Source: Kodali et al. 2017, arXiv:1705.07215. Its spread is left open there; ours is of the
    size that implementations use.
    """
    spread = SPREAD * real.flatten(1).std(dim=1)
    noise = torch.randn_like(real) * spread.view(-1, *[1] * (real.ndim - 1))
    return slope_error(critic, real + noise)


PENALTIES = {"two_sided": gradient_penalty, "dragan": dragan_penalty}


def slope_error(critic: Critic, points: Tensor) -> Tensor:
    """E[(|grad D(u)| - 1)^2] at the points u [S, n, *shape], for each of S critics: [S]."""
    if not points.requires_grad:
        points = points.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (slopes.flatten(2).norm(dim=2) - 1).square().mean(dim=1)


@torch.no_grad()
def clip(parameters: Iterable[Tensor], bound: float) -> None:
    """Moves every number of the parameters into [-bound, bound], in place.

    Source: Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1.
    """
    for parameter in parameters:
        parameter.clamp_(-bound, bound)


class SpectralNorm(nn.Module):
    """Divides the weights of S stacked networks by their largest singular values.

    A convolution's weight counts as the matrix [outputs, inputs * height * width]. Its left
    singular vector is followed by one step of power iteration a call, which is close since
    weights move little in between.

    Args:
        parameters: {name: [S, ...]}; those of a single axis beside S are biases, left alone.

    Source: Miyato et al. 2018, arXiv:1802.05957, algorithm 1.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, weight in parameters.items():
            if weight.ndim > 2:
                left = torch.randn(weight.shape[:2], device=weight.device, dtype=weight.dtype)
                self.register_buffer(_buffer(name), normalize(left, dim=1))
        for _ in range(WARM_UP):
            self(parameters)

    def forward(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same names with normalised weights, differentiable in the given ones."""
        return {
            name: weight / self._largest(name, weight) if weight.ndim > 2 else weight
            for name, weight in parameters.items()
        }

    def _largest(self, name: str, weight: Tensor) -> Tensor:
        """Singular values, shaped to divide the weight [S, outputs, ...]."""
        matrix = weight.flatten(2)
        with torch.no_grad():
            left = self.get_buffer(_buffer(name))
            right = normalize(torch.einsum("so,soi->si", left, matrix), dim=1)
            left = normalize(torch.einsum("soi,si->so", matrix, right), dim=1)
            # A new tensor: the backward pass of an earlier call may still need the old one.
            setattr(self, _buffer(name), left)
        value = torch.einsum("so,soi,si->s", left, matrix, right)
        return value.view(-1, *[1] * (weight.ndim - 1))


def _buffer(name: str) -> str:
    return name.replace(".", "_")
