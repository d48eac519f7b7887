import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy.spatial.distance import cdist, jensenshannon
from scipy.stats import chi2_contingency

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.bins import Bins, Located, divergence, locate, ndb


def counts(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def evidence_with(train, real, generated, seed=0):
    return replace(points_evidence(real, generated, seed=seed), train=train)


def normals(n, shift=0.0):
    return torch.randn(n, 2) @ torch.tensor([[2.0, 0.7], [0.0, 0.5]]) + 3 + shift


def test_scores_are_the_roots_of_pearsons_chi_squared():
    real, generated = counts(30, 12, 58), counts(61, 9, 90)
    scores = Bins(real, generated).scores
    for bin_, score in enumerate(scores.tolist()):
        table = [
            [real[bin_], generated[bin_]],
            [real.sum() - real[bin_], generated.sum() - generated[bin_]],
        ]
        assert score**2 == pytest.approx(chi2_contingency(table, correction=False).statistic)
    assert [score > 0 for score in scores] == [True, False, False]


def test_bins_beyond_196_count_as_different():
    # z-scores 2.8, -1.9 and -0.7, by the formula above.
    found = Bins(counts(20, 60, 120), counts(40, 44, 116))
    assert [abs(score) > 1.96 for score in found.scores.tolist()] == [True, False, False]
    assert found.different == pytest.approx(1 / 3)


def test_empty_and_full_bins_are_not_different():
    assert Bins(counts(0, 7, 0), counts(0, 9, 0)).different == 0.0


def test_divergence_is_that_of_scipy():
    real, generated = counts(30, 0, 12, 58), counts(61, 9, 0, 90)
    known = jensenshannon(real.numpy(), generated.numpy()) ** 2
    assert Bins(real, generated).divergence == pytest.approx(known, rel=1e-12)


def test_divergence_of_disjoint_sets_is_log_2():
    assert Bins(counts(5, 0), counts(0, 8)).divergence == pytest.approx(math.log(2))


def test_equal_distributions_differ_in_a_twentieth_of_bins_and_have_the_stated_divergence():
    shares = torch.arange(1.0, 31.0).double()
    drawn = torch.distributions.Multinomial(1500, shares)
    pairs = [Bins(drawn.sample(), drawn.sample()) for _ in range(300)]
    assert np.mean([pair.different for pair in pairs]) == pytest.approx(0.05, abs=0.01)
    expected = 29 * (2 / 1500) / 8
    assert np.mean([pair.divergence for pair in pairs]) == pytest.approx(expected, rel=0.05)


def test_every_example_is_in_the_bin_of_the_nearest_centre():
    train, real, generated = normals(200), normals(60), normals(50, 0.5)
    found = locate(train=train, real=real, generated=generated, number=6, seed=1)
    inside = locate(train=train, real=train, generated=train, number=6, seed=1)
    centres = [train[inside.real == bin_].double().mean(dim=0).numpy() for bin_ in range(6)]
    assert found.real.tolist() == cdist(real.numpy(), centres).argmin(axis=1).tolist()
    assert found.generated.tolist() == cdist(generated.numpy(), centres).argmin(axis=1).tolist()


def test_counts_keep_bins_that_are_empty():
    found = Located(torch.tensor([0, 2, 2]), torch.tensor([1, 1, 0]), number=5).counts()
    assert found.real.tolist() == [1, 0, 2, 0, 0]
    assert found.generated.tolist() == [1, 2, 0, 0, 0]


def test_a_dropped_mode_is_seen_and_equal_distributions_are_not():
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])

    def mixture(n, known):
        return modes[torch.randint(known, (n,))] + torch.randn(n, 2)

    train, real = mixture(400, 4), mixture(400, 4)
    same = evidence_with(train, real, mixture(400, 4))
    fewer = evidence_with(train, real, mixture(400, 3))
    assert ndb(same).value <= 0.2
    assert ndb(fewer).value > 0.4
    assert divergence(fewer).value > 5 * divergence(same).value
    assert divergence(fewer).low > divergence(same).high


def test_bins_hold_twenty_examples_on_average_up_to_a_hundred_bins():
    for n, m in ((90, 130), (130, 90)):
        assert ndb(evidence_with(normals(300), normals(n), normals(m))).details["bins"] == 4
    most = evidence_with(normals(300), normals(2100), normals(2100))
    assert divergence(most).details["bins"] == 100


def test_models_under_one_seed_share_the_bins():
    train, real = normals(300), normals(200)
    first = evidence_with(train, real, normals(200))
    second = evidence_with(train, real, normals(200, 1.0))
    for evidence in (first, second):
        ndb(evidence)
    assert torch.equal(first.shared["bins"].real, second.shared["bins"].real)
    other = evidence_with(train, real, normals(200), seed=1)
    ndb(other)
    assert not torch.equal(first.shared["bins"].real, other.shared["bins"].real)


@pytest.mark.parametrize("shift", [0.0, 0.35, 1.5])
def test_error_of_ndb_is_near_the_spread_over_fresh_samples(shift):
    train = normals(400)
    found = [ndb(evidence_with(train, normals(400), normals(400, shift))) for _ in range(60)]
    spread = np.std([m.value for m in found])
    root_mean_square = np.sqrt(np.mean([m.standard_error**2 for m in found]))
    assert root_mean_square == pytest.approx(spread, rel=0.35)


def test_error_of_the_divergence_is_near_the_spread_over_fresh_samples():
    train = normals(400)
    found = [divergence(evidence_with(train, normals(400), normals(400, 0.5))) for _ in range(60)]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.3)


def test_images_are_binned_by_features():
    evidence = images_evidence(random_images(100), random_images(100, darker=2))
    assert ndb(replace(evidence, train=random_images(150))).value > 0.2


def test_says_why_there_are_no_bins():
    real, generated = normals(60), normals(60)
    with pytest.raises(NotApplicable, match="made of the training data, and none are given"):
        ndb(points_evidence(real, generated))
    with pytest.raises(NotApplicable, match=r"need 40 examples .* got 30 examples"):
        ndb(evidence_with(normals(90), real, generated[:30]))
    with pytest.raises(NotApplicable, match="different training data"):
        divergence(evidence_with(torch.ones(90, 2), real, generated))


def test_rejects_more_bins_than_there_are_different_examples():
    few = normals(3).repeat(5, 1)
    with pytest.raises(ValueError, match=r"must lie in 2\.\.3, .* got 4"):
        locate(train=few, real=normals(9), generated=normals(9), number=4, seed=0)
