"""How many different samples a model has, by the birthday paradox.

Of n draws from N equally probable things, n (n - 1) / (2 N) pairs coincide on average; so the
pairs that do tell N. Points never coincide, so a collision is a pair nearer to each other than a
radius that real data set: they have one collision for 25 examples. The support of real data is
then one by definition, and a model's a multiple of it.

Source: Arora and Zhang 2017, "Do GANs actually learn the distribution?", arXiv:1706.08224,
section 2, where a person tells whether two images are the same.
"""

import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from benchmark.metrics.base import Assigned, Evidence, Measurement, NotApplicable
from benchmark.metrics.inputs import check_vectors

MOST = 2_500  # examples of each set: the time grows with the square
FEW_DIMENSIONS = 32  # beyond them, distances from products take a tenth of the time
EXAMPLES_PER_COLLISION = 25  # so few that collisions are nearly independent of each other


@dataclass(frozen=True)
class Collisions:
    """How many of all pairs of a set lie within a radius."""

    count: int
    pairs: int

    @property
    def rate(self) -> float:
        """Of things equally probable, one over their number, on average."""
        return self.count / self.pairs


def measure(evidence: Evidence) -> Measurement:
    """Support of the model relative to real data, among its first 2,500 samples (or all).

    Only those of high quality are looked at: the others lie apart without being different data.
    Modes of equal weight that are missed lower it in proportion; so do shrunken modes and copies
    of few examples; modes that are too wide raise it. Where no pair collides, the value is the
    support that would have shown a collision with a probability of 95 %.
    """
    if evidence.modes is None or evidence.spec.is_image:
        raise NotApplicable("collisions are counted between points of a set with known modes")
    real = _points(evidence.real[:MOST], evidence.modes.assign(evidence.real[:MOST]))
    generated = _points(evidence.generated[:MOST], evidence.assigned)
    if len(real) < EXAMPLES_PER_COLLISION:
        raise NotApplicable(f"a radius takes {EXAMPLES_PER_COLLISION} real examples or more")
    if len(generated) < 2:
        raise NotApplicable("fewer than two samples are of high quality: no pair can collide")
    apart = {"real": pair_distances(real), "generated": pair_distances(generated)}
    radius = collision_radius(apart["real"], len(real) // EXAMPLES_PER_COLLISION)
    found = {name: collisions(of_pairs, radius) for name, of_pairs in apart.items()}
    details = {"radius": radius, **{name: asdict(counted) for name, counted in found.items()}}
    return replace(_relative_support(**found), n=len(generated), details=details)


def pair_distances(examples: Tensor) -> Tensor:
    """[n (n - 1) / 2] distances of all pairs of examples [n, d], float64."""
    check_vectors(examples=examples)
    points = examples.double()
    if points.shape[1] <= FEW_DIMENSIONS:
        return torch.pdist(points)
    points = points - points.mean(dim=0)  # products lose digits far from the origin
    above = torch.ones(len(points), len(points), dtype=torch.bool).triu(1)
    return torch.cdist(points, points, compute_mode="use_mm_for_euclid_dist")[above]


def collision_radius(distances: Tensor, count: int) -> float:
    """The least radius within which `count` or more of all pairs [p] lie."""
    return distances.topk(count, largest=False).values.max().item()


def collisions(distances: Tensor, radius: float) -> Collisions:
    """The pairs, of all pairs [p] of a set, that lie no farther apart than the radius."""
    return Collisions(int((distances <= radius).sum()), len(distances))


def support_interval(
    *, real: Collisions, generated: Collisions, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the support of generated data, over that of the real data behind the radius.

    With Poisson counts, pairs of the two sets below a growing radius come in an order like that
    of coin throws, and the real pairs were counted until a given number of them had come. So the
    generated ones are negative binomial, of which the interval is exact, by Clopper's and
    Pearson's argument. Where they are many they vary by more than Poisson's law says, but by
    little: with one mode of eight left in the plane, 94 % of the intervals hold the truth.

    Returns:
        Both ends; the upper one is infinite where no generated pair collides.
    """
    from scipy.stats import beta

    tail = (1 - level) / 2
    ratio = generated.pairs / real.pairs
    most = beta.ppf(1 - tail, generated.count + 1, real.count)
    low = ratio * (1 - most) / most
    if generated.count == 0:
        return float(low), math.inf
    least = beta.ppf(tail, generated.count, real.count)
    return float(low), float(ratio * (1 - least) / least)


def _relative_support(*, real: Collisions, generated: Collisions) -> Measurement:
    if not generated.count:
        low, _ = support_interval(real=real, generated=generated, level=0.9)
        return Measurement(low, low=low, meaning="lower bound")
    value = real.rate / generated.rate
    error = value * math.sqrt(1 / real.count + 1 / generated.count)
    low, high = support_interval(real=real, generated=generated)
    return Measurement(value, standard_error=error, low=low, high=high)


def _points(examples: Tensor, assigned: Assigned) -> Tensor:
    """Those of high quality, on the CPU."""
    return examples[assigned.high_quality[: len(examples)]].flatten(1).cpu()
