import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_evidence import RandomNetwork, images_evidence, random_images

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.extrapolation import (
    PARTS,
    distances_of_parts,
    extrapolated_distance,
    measure,
)
from benchmark.metrics.frechet import frechet_distance

DIMS = 24


def two_gaussians():
    """Roots of two covariances that do not commute, the shift between them, and their distance."""
    root_r = torch.randn(DIMS, DIMS).double() * torch.logspace(0, -1, DIMS) / 5
    root_g = root_r + torch.randn(DIMS, DIMS).double() * 0.03
    shift = torch.randn(DIMS).double() * 0.05
    cov_r, cov_g = (root.T @ root for root in (root_r, root_g))
    values = np.linalg.eigvals((cov_r @ cov_g).numpy())
    cross = np.sqrt(values.astype(complex)).real.sum()
    trace = (cov_r.trace() + cov_g.trace()).item()
    return root_r, root_g, shift, shift.square().sum().item() + trace - 2 * cross


def drawn(root, n, shift=0.0):
    return torch.randn(n, DIMS).double() @ root + shift


def test_the_limit_is_the_distance_of_the_populations_where_the_plain_one_is_far_off():
    root_r, root_g, shift, truth = two_gaussians()
    plain, limits = [], []
    for _ in range(40):
        sets = {"real": drawn(root_r, 200), "generated": drawn(root_g, 200, shift)}
        plain.append(frechet_distance(**sets))
        limits.append(extrapolated_distance(**sets))
    error = np.std(limits) / math.sqrt(len(limits))
    assert np.mean(limits) == pytest.approx(truth, abs=3 * error)
    assert np.mean(plain) > truth + 10 * error


def test_sets_of_unequal_size_have_the_same_limit():
    root_r, root_g, shift, truth = two_gaussians()
    limits = [
        extrapolated_distance(real=drawn(root_r, 400), generated=drawn(root_g, 150, shift))
        for _ in range(40)
    ]
    error = np.std(limits) / math.sqrt(len(limits))
    assert np.mean(limits) == pytest.approx(truth, abs=3 * error)


def test_equal_distributions_have_a_limit_around_zero():
    root_r = two_gaussians()[0]
    limits = [
        extrapolated_distance(real=drawn(root_r, 200), generated=drawn(root_r, 200))
        for _ in range(40)
    ]
    error = np.std(limits) / math.sqrt(len(limits))
    assert np.mean(limits) == pytest.approx(0, abs=3 * error)
    assert min(limits) < 0


def test_is_the_intercept_of_a_line_through_the_distances_of_parts():
    root_r, root_g, shift, _ = two_gaussians()
    sets = {"real": drawn(root_r, 200), "generated": drawn(root_g, 203, shift)}
    distances = distances_of_parts(**sets)
    halves = [
        frechet_distance(real=sets["real"][:100], generated=sets["generated"][:101]),
        frechet_distance(real=sets["real"][100:], generated=sets["generated"][101:202]),
    ]
    assert distances[0] == frechet_distance(**sets)
    assert distances[1] == pytest.approx(np.mean(halves), rel=1e-12)
    expected = np.polyfit(PARTS, distances, 1)[1]
    assert extrapolated_distance(**sets) == pytest.approx(expected, rel=1e-9)


def test_measures_with_an_error_near_the_spread_over_fresh_samples():
    network = RandomNetwork()
    found = [
        measure(images_evidence(random_images(200), random_images(200, darker=1), network, seed))
        for seed in range(16)
    ]
    spread = np.std([measured.value for measured in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.4)
    assert len(found[0].details["half_samples"]["values"]) == 30
    assert len(found[0].details["distances"]) == len(PARTS)


def test_is_equal_when_repeated():
    evidence = images_evidence(random_images(60), random_images(60, darker=1))
    assert measure(evidence) == measure(replace(evidence))


def test_says_how_many_samples_it_needs():
    images = random_images(35)  # eight features
    with pytest.raises(NotApplicable, match="at least 36 samples for 8 features, got 35"):
        measure(images_evidence(images, images))
    with pytest.raises(ValueError, match=r"generated must be \[n >= 8, d\]"):
        extrapolated_distance(real=torch.randn(20, 2), generated=torch.randn(7, 2))
