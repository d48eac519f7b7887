import math

import numpy as np
import pytest
from scipy import stats

from benchmark.paired import (
    compare_likelihoods,
    in_bits,
    resampled_means,
    seed_deviations,
)
from benchmark.report.ranking import Standing


def likelihoods(model, examples, slack=0.0):
    examples = np.atleast_2d(examples)
    meaning = "exact" if slack == 0 else "upper bound" if math.isinf(slack) else "sandwich"
    return Standing(model, meaning, examples.mean(), 0.0, slack, examples)


def pair(rng, n=400, difference=-0.2):
    """NLLs that the examples share and that differ by some noise."""
    common = 100 + 10 * rng.standard_normal(n)
    return common + difference + rng.standard_normal(n), common


def test_difference_is_that_of_the_same_examples_over_the_common_prefix():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((3, 50)), rng.standard_normal((2, 80))
    found = compare_likelihoods(likelihoods("vae", first), likelihoods("gmm", second))
    assert found.difference == pytest.approx(first.mean() - second[:, :50].mean())
    assert (found.n, found.seeds) == (50, (3, 2))


def test_one_seed_gives_the_interval_of_a_paired_t_test():
    first, second = pair(np.random.default_rng(2))
    found = compare_likelihoods(likelihoods("vae", first), likelihoods("gmm", second))
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_resampled_means_spread_like_scipys_bootstrap():
    values = np.random.default_rng(3).exponential(size=70)
    ours = np.quantile(resampled_means(values, np.random.default_rng(0)), [0.025, 0.975])
    theirs = stats.bootstrap((values,), np.mean, method="percentile", random_state=0)
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=0.02)


def test_memory_bounds_do_not_change_the_number_of_resamples(monkeypatch):
    monkeypatch.setattr("benchmark.paired.AT_ONCE", 300)
    assert resampled_means(np.arange(7.0), np.random.default_rng(0), 1_001).shape == (1_001,)


def test_seeds_that_agree_exactly_add_nothing_and_one_seed_says_nothing():
    rng = np.random.default_rng(0)
    assert not seed_deviations(np.full(3, 5.0), np.array([7.0]), rng).any()


def test_seed_deviations_give_the_interval_of_welchs_test():
    first, second = np.array([3.1, 4.4, 2.0]), np.array([1.0, 1.3, 0.9, 1.1])
    draws = seed_deviations(first, second, np.random.default_rng(0), 200_000)
    found = first.mean() - second.mean() + np.quantile(draws, [0.025, 0.975])
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize(
    ("of_seeds", "of_examples"), [((1, 1), 2.0), ((0, 0), 3.0), ((1, 0.2), 0.5)]
)
def test_interval_of_three_seeds_holds_the_truth_in_95_of_100_cases(of_seeds, of_examples):
    rng = np.random.default_rng(5)
    held = []
    for _ in range(300):
        common = 5 * rng.standard_normal(120)
        models = [
            common
            + of_examples * rng.standard_normal(120)
            + spread * rng.standard_normal((3, 1))
            + 0.5 * rng.standard_normal((3, 120))
            for spread in of_seeds
        ]
        found = compare_likelihoods(
            likelihoods("a", models[0]), likelihoods("b", models[1]), resamples=1_000
        )
        held.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.985


def test_swapping_the_models_mirrors_the_interval():
    rng = np.random.default_rng(6)
    first, second = (
        likelihoods("vae", rng.random((3, 40)), 0.4),
        likelihoods("gmm", rng.random(40)),
    )
    there, back = compare_likelihoods(first, second), compare_likelihoods(second, first)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-there.difference, -there.high, -there.low), abs=1e-12
    )


VERDICTS = [  # difference of the values, slack of each, verdict; the noise reaches 0.1 or so
    (-0.5, 0.0, 0.0, "vae"),
    (+0.5, 0.0, 0.0, "gmm"),
    (0.01, 0.0, 0.0, "undecided"),
    (-0.5, 3.0, 0.0, "vae"),  # the truth of vae lies even lower
    (+0.5, 3.0, 0.0, "undecided"),
    (+4.0, 3.0, 0.0, "gmm"),
    (-0.5, 0.3, 0.3, "vae"),
    (-0.5, 0.3, 0.6, "undecided"),
    (-9.0, math.inf, 0.0, "vae"),
    (+9.0, math.inf, 0.0, "undecided"),
    (+9.0, 0.0, math.inf, "gmm"),
    (-9.0, 0.0, math.inf, "undecided"),
    (-9.0, math.inf, 1.0, "vae"),
    (-9.0, math.inf, math.inf, "undecided"),
    (+9.0, math.inf, math.inf, "undecided"),
]


@pytest.mark.parametrize(("difference", "of_first", "of_second", "verdict"), VERDICTS)
def test_a_verdict_needs_the_truth_of_both_on_one_side(difference, of_first, of_second, verdict):
    first, second = pair(np.random.default_rng(4), difference=difference)
    found = compare_likelihoods(
        likelihoods("vae", first, of_first), likelihoods("gmm", second, of_second)
    )
    assert found.verdict == verdict


def test_bits_are_nats_per_coordinate_over_ln_two():
    first, second = pair(np.random.default_rng(8), n=50)
    nats = compare_likelihoods(likelihoods("vae", first, math.inf), likelihoods("gmm", second))
    bits = in_bits(nats, dims=784)
    assert bits.difference == pytest.approx(nats.difference / (784 * math.log(2)))
    assert bits.high == pytest.approx(nats.high / (784 * math.log(2)))
    assert bits.low == -math.inf
    assert bits.verdict == nats.verdict
    assert bits.metric.name == "bits_per_dim"


# p-values of likelihoods


def test_one_seed_gives_the_p_value_of_a_paired_t_test():
    first, second = pair(np.random.default_rng(2), difference=-0.1)
    found = compare_likelihoods(likelihoods("vae", first), likelihoods("gmm", second))
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.01)


def test_a_slack_shifts_the_p_value_of_that_side_only():
    first, second = pair(np.random.default_rng(2), difference=-0.5)
    gmm = likelihoods("gmm", second, 0.4)
    found = compare_likelihoods(likelihoods("vae", first, 0.7), gmm)
    assert found.p_value == pytest.approx(stats.ttest_rel(first + 0.4, second).pvalue, abs=0.01)
