"""Distributions of an observed example given its latent variables."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional

from zoo.layers import integer_dtype

Size = torch.Size | list[int] | tuple[int, ...]


class DiscretisedLogistic(Distribution):
    """A logistic rounded to the integers 0..levels-1, the first and last taking its tails.

    Args:
        loc: [...] mean before rounding, in levels.
        log_scale: [...] logarithm of the scale, in levels.
        levels: how many integers there are.

    Source: Kingma et al. 2016, arXiv:1606.04934, eq. 9 (Salimans et al. 2017, section 2.1, for
    the tails).
    """

    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}  # noqa: RUF012
    has_rsample = False

    def __init__(
        self, loc: Tensor, log_scale: Tensor, levels: int, validate_args: bool | None = None
    ) -> None:
        self.loc, self.log_scale = torch.broadcast_tensors(loc, log_scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.levels - 1)

    def expand(
        self, batch_shape: Size, _instance: Distribution | None = None
    ) -> "DiscretisedLogistic":
        loc, log_scale = self.loc.expand(batch_shape), self.log_scale.expand(batch_shape)
        return DiscretisedLogistic(loc, log_scale, self.levels, self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass in nats of integers [...], accurate to rounding even far in the tails.

        With a and b the scaled ends of the integer's interval, the mass is sigmoid(b) - sigmoid(a)
        = sigmoid(b) sigmoid(-a) (1 - exp(a - b)): a product, in which nothing cancels.
        """
        if self._validate_args:
            self._validate_sample(value)
        steepness = torch.exp(-self.log_scale)
        offset = value - self.loc
        below_upper = functional.logsigmoid((offset + 0.5) * steepness)
        above_lower = functional.logsigmoid((0.5 - offset) * steepness)
        between = torch.log(-torch.expm1(-steepness))
        is_first, is_last = value == 0, value == self.levels - 1
        below_upper = below_upper.masked_fill(is_last, 0.0)
        above_lower = above_lower.masked_fill(is_first, 0.0)
        return below_upper + above_lower + between.masked_fill(is_first | is_last, 0.0)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        """Draws integers [*sample_shape, ...]; uint8 where the levels fit."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            uniform = uniform.clamp(min=torch.finfo(uniform.dtype).tiny)
            logistic = uniform.log() - torch.log1p(-uniform)
            rounded = (self.loc + self.log_scale.exp() * logistic).round()
        return rounded.clamp(0, self.levels - 1).to(integer_dtype(self.levels))
