"""How samples spread over the known modes of a mixture: modes, quality, balance.

A sample is *high-quality* if it lies within three standard deviations of its nearest mode; only
such samples count for a mode, here as in the code published with PacGAN, whose measure of balance
is taken over them too. So samples between the modes capture none of them.

Source: Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 4.1; Lin et al. 2018 (PacGAN),
arXiv:1712.04086, section 4.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, KnownModes, Measurement, NotApplicable
from benchmark.metrics.inputs import check_vectors
from benchmark.metrics.shares import as_share
from benchmark.randomness import generator

BOOTSTRAPS = 200


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
        """Share of all samples; 1 - exp(-9/2) = 0.9889 for a perfect sampler in the plane."""
        return self.counts.sum().item() / self.samples

    @property
    def divergence(self) -> float:
        """KL(high-quality samples over modes || true weights), nats.

        The finite number of samples m in `counts` alone gives (k - 1) / (2 m) on average, not 0.

        Raises:
            NotApplicable: no sample is high-quality, so that there are no shares to compare.
        """
        if not self.counts.any():
            raise NotApplicable("no sample lies within 3 standard deviations of a mode")
        return divergence_from(self.counts, self.weights).item()


def mode_coverage(
    samples: Tensor, *, means: Tensor, sigma: float, weights: Tensor, threshold: float = 3.0
) -> ModeCoverage:
    """Counts the high-quality samples of each mode.

    Args:
        samples: [n, d] points.
        means: [k, d] centres of the modes, distinct.
        sigma: standard deviation of every mode in every direction, in the unit of the samples.
        weights: [k] probabilities of the modes, positive.
        threshold: Mahalanobis distance, in units of sigma, up to which a sample is high-quality.
    """
    check_vectors(at_least=1, samples=samples, means=means)
    means, weights = means.double().to(samples.device), weights.double().to(samples.device)
    if weights.shape != means.shape[:1] or not (weights > 0).all():
        raise ValueError(f"weights must be {len(means)} positive numbers, got {weights.tolist()}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    if (torch.pdist(means) < sigma).any():
        raise ValueError("two modes lie within one sigma of each other: is one there twice?")
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(samples.double(), means, compute_mode=exact) / sigma
    nearest, mode = distances.min(dim=1)
    counts = torch.bincount(mode[nearest <= threshold], minlength=len(means))
    return ModeCoverage(counts.cpu(), len(samples), (weights / weights.sum()).cpu())


def divergence_from(counts: Tensor, weights: Tensor) -> Tensor:
    """KL(counts as shares || weights) in nats, [...] for counts [..., k] and weights [k]."""
    shares = counts.double() / counts.sum(dim=-1, keepdim=True)
    return (torch.xlogy(shares, shares) - torch.xlogy(shares, weights)).sum(dim=-1)


def modes(evidence: Evidence) -> Measurement:
    """Modes with at least one high-quality sample.

    The error is a bootstrap's: it knows of modes that were nearly missed, and nothing of those
    that were nearly seen.
    """
    coverage = _coverage(evidence)
    missed = coverage.samples - coverage.counts.sum()
    redrawn = _bootstrap(torch.cat([coverage.counts, missed[None]]), "modes", evidence.seed)
    error = (redrawn[:, :-1] > 0).sum(dim=1).double().std().item()
    return Measurement.with_error(
        float(coverage.captured),
        error,
        n=coverage.samples,
        lowest=0.0,
        highest=float(len(coverage.counts)),
    )


def high_quality(evidence: Evidence) -> Measurement:
    """Share of samples within three standard deviations of a mode, with Wilson's interval."""
    coverage = _coverage(evidence)
    return as_share(Measurement(coverage.high_quality, n=coverage.samples))


def mode_kl(evidence: Evidence) -> Measurement:
    """KL from the true weights of the modes to the shares that the high-quality samples have."""
    coverage = _coverage(evidence)
    value = coverage.divergence
    redrawn = _bootstrap(coverage.counts, "mode_kl", evidence.seed)
    error = divergence_from(redrawn, coverage.weights).std().item()
    n = int(coverage.counts.sum())
    return Measurement.with_error(value, error, n=n, lowest=0.0)


def _coverage(evidence: Evidence) -> ModeCoverage:
    known: KnownModes | None = evidence.modes
    if known is None:
        raise NotApplicable("no known modes: this data set is not a mixture with known components")
    return mode_coverage(
        evidence.generated, means=known.means, sigma=known.sigma, weights=known.weights
    )


def _bootstrap(counts: Tensor, name: str, seed: int) -> Tensor:
    """[BOOTSTRAPS, k] counts of as many samples, drawn again with the shares of `counts` [k]."""
    total = int(counts.sum())
    drawn = torch.multinomial(
        counts.double(), BOOTSTRAPS * total, replacement=True, generator=generator(name, seed)
    ).view(BOOTSTRAPS, total)
    rows = torch.arange(BOOTSTRAPS)[:, None] * len(counts)
    return torch.bincount((drawn + rows).flatten(), minlength=BOOTSTRAPS * len(counts)).view(
        BOOTSTRAPS, len(counts)
    )
