"""How samples spread over the known modes of a data set: modes, quality, balance.

Only high-quality samples count for a mode, here as in the code published with PacGAN, whose
measure of balance is taken over them too. So samples between the modes capture none of them.

Source: Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 4.1; Lin et al. 2018 (PacGAN),
arXiv:1712.04086, section 4.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.metrics.base import Assigned, Evidence, Measurement, NotApplicable
from benchmark.metrics.shares import as_share
from benchmark.randomness import generator

BOOTSTRAPS = 200
ADDED = 0.5  # to the count of every mode, where none may be zero


@dataclass(frozen=True)
class ModeCoverage:
    """What n samples make of k modes.

    Args:
        counts: [k] high-quality samples nearest to each mode.
        samples: n, high-quality or not.
        weights: [k] true probabilities of the modes.
    """

    counts: Tensor
    samples: int
    weights: Tensor

    @property
    def captured(self) -> int:
        """Modes with at least one high-quality sample."""
        return int((self.counts > 0).sum())

    @property
    def high_quality(self) -> float:
        """Share of all samples that are of high quality."""
        return self.counts.sum().item() / self.samples

    @property
    def floor(self) -> float:
        """(k - 1) / (2 m), nats: what either divergence of m true samples is on average."""
        return (len(self.counts) - 1) / (2 * self.counts.sum().item())


def mode_coverage(assigned: Assigned, weights: Tensor) -> ModeCoverage:
    """Counts the high-quality samples of each mode.

    Args:
        assigned: where n samples belong among k modes.
        weights: [k] probabilities of the modes, positive.
    """
    if not len(assigned.mode):
        raise ValueError("modes are counted in samples, and there are none: give one at least")
    if not (weights > 0).all():
        raise ValueError(f"weights must be positive, got {weights.tolist()}")
    counts = torch.bincount(assigned.mode[assigned.high_quality], minlength=len(weights))
    if len(counts) > len(weights):
        raise ValueError(
            f"samples of mode {len(counts) - 1} have no weight: there are {len(weights)}"
        )
    shares = weights.double().cpu() / weights.double().cpu().sum()
    return ModeCoverage(counts.cpu(), len(assigned.mode), shares)


def divergence_from(counts: Tensor, weights: Tensor) -> Tensor:
    """KL(counts as shares || weights) in nats, [...] for counts [..., k] and weights [k]."""
    shares = counts.double() / counts.sum(dim=-1, keepdim=True)
    return (torch.xlogy(shares, shares) - torch.xlogy(shares, weights)).sum(dim=-1)


def divergence_to(counts: Tensor, weights: Tensor) -> Tensor:
    """KL(weights || counts as shares) in nats, [...] for counts [..., k] and weights [k].

    Half a sample more is counted in every mode, since one without any would make the
    divergence infinite. A missed mode of weight w costs about w (log(2 m w) - 1), in m samples.

    Source: Krichevsky and Trofimov 1981, IEEE Transactions on Information Theory 27(2).
    """
    smoothed = counts.double() + ADDED
    shares = smoothed / smoothed.sum(dim=-1, keepdim=True)
    return (torch.xlogy(weights, weights) - torch.xlogy(weights, shares)).sum(dim=-1)


def modes(evidence: Evidence) -> Measurement:
    """Modes with at least one high-quality sample.

    The error is a bootstrap's: it knows of modes that were nearly missed, and nothing of those
    that were nearly seen.
    """
    coverage = _coverage(evidence)
    missed = coverage.samples - coverage.counts.sum()
    counts = torch.cat([coverage.counts, missed[None]])
    redrawn = _drawn(counts, coverage.samples, generator("modes", evidence.seed))
    error = (redrawn[:, :-1] > 0).sum(dim=1).double().std().item()
    return Measurement.with_error(
        float(coverage.captured),
        error,
        n=coverage.samples,
        lowest=0.0,
        highest=float(len(coverage.counts)),
    )


def high_quality(evidence: Evidence) -> Measurement:
    """Share of samples that are near enough to a mode, with Wilson's interval."""
    coverage = _coverage(evidence)
    assert evidence.modes is not None
    details = {"perfect": evidence.modes.perfect}
    return as_share(Measurement(coverage.high_quality, n=coverage.samples, details=details))


def mode_kl(evidence: Evidence) -> Measurement:
    """KL(generated || true) over modes, nats: of high-quality samples' shares from the weights.

    A missed mode of weight w costs -log(1 - w), little where modes are many.
    """
    return _divergence(evidence, "mode_kl", divergence_from, added=0.0)


def mode_kl_forward(evidence: Evidence) -> Measurement:
    """KL(true || generated) over modes, nats, smoothed: large where a mode is missed.

    The error is that of samples with the smoothed shares, so that a missed mode has one too.
    """
    return _divergence(evidence, "mode_kl_forward", divergence_to, added=ADDED)


def _divergence(
    evidence: Evidence, name: str, divergence: Callable[[Tensor, Tensor], Tensor], added: float
) -> Measurement:
    coverage = _coverage(evidence)
    if not coverage.counts.any():
        raise NotApplicable(
            "no sample is of high quality: there are no shares of modes to compare"
        )
    value = divergence(coverage.counts, coverage.weights).item()
    n = int(coverage.counts.sum())
    redrawn = _drawn(coverage.counts + added, n, generator(name, evidence.seed))
    error = divergence(redrawn, coverage.weights).std().item()
    measured = Measurement.with_error(value, error, n=n, lowest=0.0)
    return replace(measured, details={"floor": coverage.floor})


def _coverage(evidence: Evidence) -> ModeCoverage:
    assigned = evidence.assigned
    assert evidence.modes is not None
    return mode_coverage(assigned, evidence.modes.weights)


def _drawn(shares: Tensor, n: int, drawn: torch.Generator) -> Tensor:
    """[BOOTSTRAPS, k] counts of n samples each, drawn with probabilities in proportion [k]."""
    modes = torch.multinomial(shares.double(), BOOTSTRAPS * n, replacement=True, generator=drawn)
    rows = torch.arange(BOOTSTRAPS)[:, None] * len(shares)
    counts = torch.bincount(
        (modes.view(BOOTSTRAPS, n) + rows).flatten(), minlength=BOOTSTRAPS * len(shares)
    )
    return counts.view(BOOTSTRAPS, len(shares))
