"""Energy distance between samples and the truth: zero for equal distributions only."""

from functools import partial

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.metrics.inputs import float64_device
from benchmark.metrics.mmd import measured_with_halves, squared_mmd
from benchmark.randomness import generator


class NegativeDistance:
    """The kernel -|x - y|, of which the squared MMD is the energy distance.

    Source: Sejdinovic et al. 2013, "Equivalence of distance-based and RKHS-based statistics in
    hypothesis testing", Annals of Statistics 41(5), theorem 22.
    """

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """[n, m] values between the rows of x [n, d] and of y [m, d], both float64."""
        centre = y.mean(dim=0)  # products lose digits far from the origin
        products = "use_mm_for_euclid_dist"
        return torch.cdist(x - centre, y - centre, compute_mode=products).neg_()


def measure(evidence: Evidence) -> Measurement:
    """Between points and held-out points of a mixture with known modes.

    Half samples give the error; between equal distributions it is too large by about √3.
    """
    if evidence.modes is None or evidence.spec.is_image:
        raise NotApplicable("the energy distance is between points of a mixture with known modes")
    device = float64_device(evidence)
    return measured_with_halves(
        real=evidence.real.flatten(1).to(device),
        generated=evidence.generated.flatten(1).to(device),
        kernel=NegativeDistance(),
        drawn=generator("energy", evidence.seed),
        progress=partial(evidence.progress, "energy"),
    )


def energy_distance(*, real: Tensor, generated: Tensor) -> float:
    """Unbiased estimate of 2 E|x - y| - E|x - x'| - E|y - y'|, x real and y generated.

    Args:
        real: [n, d] vectors of real data, n >= 2.
        generated: [m, d] vectors of generated data, m >= 2.

    Returns:
        A length in the unit of the vectors: 0 in expectation for equal distributions, and so at
        times negative. In one dimension it is twice the integrated squared difference of the
        distribution functions, the square of what scipy calls by this name.

    Source: Székely and Rizzo 2013, "Energy statistics: a class of statistics based on distances",
    Journal of Statistical Planning and Inference 143(8), eq. 2.1, as a U-statistic.
    """
    return squared_mmd(real=real, generated=generated, kernel=NegativeDistance())
