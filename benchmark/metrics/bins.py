"""Number of statistically different bins, and the divergence of the bins' shares.

The training data are cut into bins by k-means; where real and generated examples fall into a bin
in different shares, the model makes too many or too few of that kind. In the source the real
shares are those of the training data. Here they are those of the reference set, which k-means has
not seen: bins that were fitted to some examples hold them more evenly than they hold fresh ones.

Source: Richardson and Weiss 2018, "On GANs and GMMs", arXiv:1805.12462, section 2.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.metrics.training_neighbours import in_features
from benchmark.randomness import derive_seed, generator

MOST_BINS = 100
EXAMPLES_PER_BIN = 20  # of either set, on average: fewer, and a share is no longer near normal
MOST_FOR_BINS = 10_000  # training examples that k-means sees
ROWS_AT_ONCE = 10_000
CRITICAL = 1.96  # of a standard normal, two-sided, at 5 %


@dataclass(frozen=True)
class Bins:
    """How often real and generated examples fall into each of k bins.

    Args:
        real: [k] counts.
        generated: [k] counts.
    """

    real: Tensor
    generated: Tensor

    @property
    def scores(self) -> Tensor:
        """[k] z-scores of the two shares' difference, with pooled variance; 0 for empty bins."""
        n, m = self.real.sum(), self.generated.sum()
        pooled = (self.real + self.generated) / (n + m)
        spread = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
        difference = self.generated / m - self.real / n
        return torch.where(spread > 0, difference / spread, 0.0)

    @property
    def different(self) -> float:
        """Share of the bins whose z-score is significant at 5 %: 0.05 for equal distributions."""
        return (self.scores.abs() > CRITICAL).double().mean().item()

    @property
    def divergence(self) -> float:
        """Jensen-Shannon divergence of the two sets' shares, from 0 to log 2 nats.

        For equal distributions it is (k - 1) (1 / n + 1 / m) / 8 in expectation, not 0.
        """
        shares = torch.stack([self.real / self.real.sum(), self.generated / self.generated.sum()])
        mean = shares.mean(dim=0)
        return (torch.xlogy(shares, shares) - torch.xlogy(shares, mean)).sum().item() / 2


@dataclass(frozen=True)
class Located:
    """The bin of every example.

    Args:
        real: [n] numbers of bins.
        generated: [m] numbers of bins.
        number: of bins that there are.
    """

    real: Tensor
    generated: Tensor
    number: int

    def counts(self) -> Bins:
        """How often each bin occurs."""
        real, generated = (
            torch.bincount(bins, minlength=self.number).double()
            for bins in (self.real, self.generated)
        )
        return Bins(real, generated)


def ndb(evidence: Evidence) -> Measurement:
    """Share of bins that real and generated examples fall into in different shares.

    The error is that of a sum over bins: a bin counts with the probability that its z-score,
    drawn again, passes the mark. For the true scores stand the observed ones, shrunk by what
    noise alone adds to them. The power grows with the number of examples, and so does the value.

    Source: James and Stein 1961, "Estimation with quadratic loss", for the shrinkage.
    """
    located = _shared_bins(evidence)
    found = located.counts()
    chances = _chances_to_differ(_shrunk(found.scores))
    error = (chances * (1 - chances)).sum().sqrt().item() / located.number
    n = len(located.generated)
    measured = Measurement.with_error(found.different, error, n, lowest=0.0, highest=1.0)
    return replace(measured, details={"bins": located.number})


def divergence(evidence: Evidence) -> Measurement:
    """Jensen-Shannon divergence between the shares of real and of generated examples.

    The error is that of the examples, in the bins as they came out. Another start of k-means,
    which another seed gives, moves the value by about a third of that more.
    """
    located = _shared_bins(evidence)
    return Measurement.of_statistic(
        lambda **half: replace(located, **half).counts().divergence,
        drawn=generator("bins_js", evidence.seed),
        n=len(located.generated),
        lowest=0.0,
        highest=math.log(2),
        details={"bins": located.number},
        real=located.real,
        generated=located.generated,
    )


def locate(*, train: Tensor, real: Tensor, generated: Tensor, number: int, seed: int) -> Located:
    """Cuts the training data into bins and finds those of the other examples.

    Args:
        train: [t, d] vectors that k-means is run on.
        real: [n, d] vectors of real data.
        generated: [m, d] vectors of generated data.
        number: of bins, at most the number of different training vectors.
        seed: of the first centres of k-means.
    """
    from sklearn.cluster import KMeans

    check_vectors(train=train, real=real, generated=generated)
    if not 2 <= number <= len(train.unique(dim=0)):
        raise ValueError(
            f"number of bins must lie in 2..{len(train.unique(dim=0))}, the number of different "
            f"training vectors, got {number}"
        )
    clusters = KMeans(number, n_init=1, random_state=seed % 2**32).fit(train.double().numpy())

    def bins_of(vectors: Tensor) -> Tensor:
        parts = vectors.cpu().split(ROWS_AT_ONCE)
        return torch.cat([torch.from_numpy(clusters.predict(x.double().numpy())) for x in parts])

    return Located(bins_of(real), bins_of(generated), number)


def _shared_bins(evidence: Evidence) -> Located:
    """The bins of one cell, the same for all models under one seed and number of examples."""
    if "bins" not in evidence.shared:
        evidence.shared["bins"] = _bins(evidence)
    found: Located = evidence.shared["bins"]
    return found


def _bins(evidence: Evidence) -> Located:
    if evidence.train is None:
        raise NotApplicable("bins are made of the training data, and none are given")
    real, generated = compared_vectors(evidence)
    train = in_features(evidence).train[:MOST_FOR_BINS]
    fewest = min(len(real), len(generated))
    number = min(MOST_BINS, fewest // EXAMPLES_PER_BIN, len(train.unique(dim=0)))
    if number < 2:
        raise NotApplicable(
            f"two bins of {EXAMPLES_PER_BIN} need {2 * EXAMPLES_PER_BIN} examples and different "
            f"training data, got {fewest} examples"
        )
    seed = derive_seed("bins", evidence.seed)
    return locate(train=train, real=real, generated=generated, number=number, seed=seed)


def _shrunk(scores: Tensor) -> Tensor:
    """Estimates of the means of k normal scores with variance 1, together nearer than they are."""
    squares = scores.square().sum().clamp(min=torch.finfo(scores.dtype).tiny)
    return scores * (1 - (len(scores) - 2) / squares).clamp(min=0.0)


def _chances_to_differ(scores: Tensor) -> Tensor:
    """Probabilities that normals with these means and variance 1 lie beyond the mark."""
    normal = torch.special.ndtr
    return normal(scores - CRITICAL) + normal(-scores - CRITICAL)
