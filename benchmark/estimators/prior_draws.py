"""log p(x) by plain draws from the prior, beside annealed chains where latents are few.

Chains move step by step, and where the posterior falls apart into islands, a few of them may miss
the one that matters. Very many draws from the prior of a few latents miss none, but hit a narrow
one seldom. So each has what the other lacks, and a mixture of two unbiased estimates of p(x) is
unbiased too: in equal shares its logarithm lies below neither's by more than ln 2.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.estimators.ais import Chains
from benchmark.estimators.latents import StandardLatents

PILOT = 10  # one draw of the pilot for so many that are used
ENOUGH = 100  # effective draws of the pilot at which an example hardly needs chains
SURE, UNSURE = 0.9, 0.5  # share of the draws in the mixture, where they are enough and elsewhere
PAIRS = {"cpu": 1_000_000, "cuda": 50_000_000}  # of draws and examples at once: bounds memory


@dataclass(frozen=True)
class PriorDraws:
    """Plain importance sampling of n data from the prior.

    Args:
        log_sum: [n] log of the sum of p(x given z) over draws of z, float64.
        count: how many draws there are.
        share: [n] that these draws have in the mixture with chains, larger where an independent
            pilot run found enough draws that matter. As it does not depend on the draws that are
            summed, estimates stay unbiased whatever it is.
    """

    log_sum: Tensor
    count: int
    share: Tensor

    @property
    def log_mean(self) -> Tensor:
        """[n] log of the mean, a lower bound on log p(x) in expectation.

        Source: Burda et al. 2016, arXiv:1509.00519, eq. 8, with the prior as proposal.
        """
        return self.log_sum - math.log(self.count)

    def log_mean_with(self, value: Tensor) -> Tensor:
        """[n] the same with one draw more, an exact sample of the posterior.

        An upper bound on log p(x) in expectation, since 1 / the mean has then the mean 1 / p(x).

        Args:
            value: [n] log p(x given z) at that draw.

        Source: Grosse et al. 2016, arXiv:1606.02275, section 3.2, for chains of one step.
        """
        return torch.logaddexp(self.log_sum, value.double()) - math.log(self.count + 1)

    def beside(self, forward: Chains) -> Chains:
        """Forward chains with the draws mixed into the weight of each: its mean stays p(x)."""
        return _mixed(forward, self.log_mean, self.share)

    def beside_reverse(self, reverse: Chains, value: Tensor) -> Chains:
        """Reverse chains with the draws mixed in: exp of minus a weight still has mean 1 / p(x).

        Args:
            reverse: chains that set out from exact samples of the posterior.
            value: [n] log p(x given z) at these samples.
        """
        minus = replace(reverse, log_weights=-reverse.log_weights)
        mixed = _mixed(minus, -self.log_mean_with(value), self.share)
        return replace(reverse, log_weights=-mixed.log_weights)


def prior_draws(model: StandardLatents, x: Tensor, count: int) -> PriorDraws:
    """Draws latents from the prior and looks at all data from each of them.

    Args:
        model: gives p(x given z), whose distribution takes batches [draws, 1] and data [1, n].
        x: [n, *shape] data.
        count: draws to be summed; a tenth as many more make the pilot run.

    Raises:
        ValueError: count is not positive, or the decoder gives NaN or +inf.
    """
    if count < 1:
        raise ValueError(f"prior draws must be at least 1, got {count}")
    pilot, squares = _sums(model, x, math.ceil(count / PILOT))
    effective = (2 * pilot - squares).exp().nan_to_num(nan=0.0)  # none where all are -inf
    log_sum, _ = _sums(model, x, count)
    share = torch.where(effective >= ENOUGH, SURE, UNSURE)
    return PriorDraws(log_sum, count, share)


def _sums(model: StandardLatents, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[n] logs of the sums over draws of p(x given z) and of its square."""
    at_once = max(1, PAIRS[x.device.type] // len(x))
    sums = torch.full((2, len(x)), -math.inf, dtype=torch.float64, device=x.device)
    for start in range(0, count, at_once):
        z = torch.randn(min(at_once, count - start), 1, model.latents, device=x.device)
        with torch.no_grad():
            values = model.decode(z).log_prob(x.unsqueeze(0)).double()  # [draws, n]
        faults = int((values.isnan() | values.isposinf()).any(dim=1).sum())
        if faults:
            raise ValueError(f"log p(x given z) is NaN or +inf at {faults} draws from the prior")
        both = torch.stack([values.logsumexp(dim=0), (2 * values).logsumexp(dim=0)])
        sums = torch.logaddexp(sums, both)
    return sums[0], sums[1]


def _mixed(chains: Chains, log_mean: Tensor, share: Tensor) -> Chains:
    """Each weight replaced by share times that of the draws and the rest times its own."""
    share = share.double()[:, None]
    of_draws = log_mean[:, None] + share.log()
    of_chains = chains.log_weights + (1 - share).log()
    return replace(chains, log_weights=torch.logaddexp(of_chains, of_draws))
