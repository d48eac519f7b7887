"""Steps of an optimiser as a differentiable function of the parameters."""

from collections.abc import Callable, Mapping

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
    zero = torch.zeros(())
    firsts = [state.get("exp_avg", zero) for state in states]
    seconds = [state.get("exp_avg_sq", zero) for state in states]
    taken = states[0].get("step", zero)
    for step in range(1, steps + 1):
        slopes = torch.autograd.grad(
            loss(current).sum(), list(current.values()), create_graph=True
        )
        firsts = [decay * m + (1 - decay) * g for m, g in zip(firsts, slopes, strict=True)]
        seconds = [
            decay_squares * v + (1 - decay_squares) * g.square()
            for v, g in zip(seconds, slopes, strict=True)
        ]
        rate = group["lr"] / (1 - decay ** (taken + step))
        correction = (1 - decay_squares ** (taken + step)).sqrt()
        current = {
            name: value - rate * m / (v.clamp(min=SMALLEST).sqrt() / correction + group["eps"])
            for (name, value), m, v in zip(current.items(), firsts, seconds, strict=True)
        }
    return current
