"""Steps of an optimiser as a differentiable function of the parameters."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.optim import Adam

Parameters = dict[str, Tensor]
SMALLEST = 1e-30  # of a second moment: keeps the slope of its root finite, far below Adam's eps


def unrolled(
    loss: Callable[[Parameters], Tensor],
    parameters: Mapping[str, Tensor],
    optimiser: Adam,
    steps: int,
) -> Parameters:
    """What the parameters become in `steps` steps of the optimiser down the loss.

    Neither the parameters nor the optimiser change. The result can be differentiated with
    respect to everything that the loss depends on, through all steps and Adam's moments, which
    start from the optimiser's own.

    Args:
        loss: a number, or several that are summed, of parameters under the same names.
        parameters: those that the optimiser moves, all of them in its first group.
        optimiser: without weight decay, AMSGrad and maximisation.
        steps: how many.

    Source: Metz et al. 2017, arXiv:1611.02163, section 2.2, with Adam in the place of plain
    descent, as in the source's experiments.
    """
    group = optimiser.param_groups[0]
    decay, decay_squares = group["betas"]
    current = dict(parameters)
    states = [optimiser.state[parameter] for parameter in parameters.values()]
    zeros = [torch.zeros_like(parameter) for parameter in parameters.values()]
    pairs = list(zip(states, zeros, strict=True))
    values = _row(current.values())
    first = _row(state.get("exp_avg", zero) for state, zero in pairs)
    second = _row(state.get("exp_avg_sq", zero) for state, zero in pairs)
    taken = states[0].get("step", torch.zeros(()))
    for step in range(1, steps + 1):
        slope = _row(
            torch.autograd.grad(loss(current).sum(), list(current.values()), create_graph=True)
        )
        first = decay * first + (1 - decay) * slope
        second = decay_squares * second + (1 - decay_squares) * slope.square()
        rate = group["lr"] / (1 - decay ** (taken + step))
        correction = (1 - decay_squares ** (taken + step)).sqrt()
        size = second.clamp(min=SMALLEST).sqrt() / correction
        values = values - rate * first / (size + group["eps"])
        current = _parted(values, parameters)
    return current


def _row(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers in one row: an operation a step in place of one for each parameter."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _parted(row: Tensor, parameters: Mapping[str, Tensor]) -> Parameters:
    """The numbers of a row in the shapes of the parameters, under their names."""
    parts = row.split([parameter.numel() for parameter in parameters.values()])
    return {
        name: part.view(parameter.shape)
        for (name, parameter), part in zip(parameters.items(), parts, strict=True)
    }
