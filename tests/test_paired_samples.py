import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmark.metrics import METRICS
from benchmark.paired_samples import compare_values
from benchmark.store import Question, Result

METRIC = {metric.name: metric for metric in METRICS}
FID = METRIC["fid"]


def measured(value, halves=None, error=None, n=100, share=0.5):
    details = {} if halves is None else {"half_samples": {"values": list(halves), "share": share}}
    error = np.std(halves, ddof=1) * np.sqrt(share / (1 - share)) if error is None else error
    return Result(Question("fid", 1), "measured", value, error, n=n, details=details)


def drawn_halves(rng, shift, own=0.3, repeats=30):
    """Values of a model on halves: what the real data do to all models, and noise of its own."""
    return shift + own * rng.standard_normal(repeats)


def test_values_on_the_same_halves_give_the_interval_of_students_t():
    rng = np.random.default_rng(1)
    real = 5 * rng.standard_normal(30)
    first, second = real + drawn_halves(rng, 3.0), real + drawn_halves(rng, 2.5)
    found = compare_values(
        FID, ("vae", {0: measured(3.1, first)}), ("gan", {0: measured(1.1, second)})
    )
    spread = (first - second).std(ddof=1)  # of a half it is the error of the whole
    expected = stats.t(df=29, loc=2.0, scale=spread)
    assert found.difference == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx(expected.interval(0.95), rel=1e-9)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2.0 / spread, df=29), rel=1e-9)
    assert (found.n, found.seeds, found.verdict) == (100, (1, 1), "gan")
    assert found.remarks == tuple(
        f"{model} has one seed: of other trainings nothing is known." for model in ("vae", "gan")
    )


def test_smaller_shares_than_a_half_are_scaled():
    rng = np.random.default_rng(2)
    first, second = drawn_halves(rng, 0), drawn_halves(rng, 0)
    results = [{0: measured(1.0, values, share=0.2)} for values in (first, second)]
    found = compare_values(FID, ("vae", results[0]), ("gan", results[1]))
    error = (first - second).std(ddof=1) * math.sqrt(0.2 / 0.8)
    assert found.high == pytest.approx(stats.t.ppf(0.975, 29) * error)


DIFFERENT_HALVES = [
    {"share": 0.25},
    {"n": 101},
    {"halves": None, "error": 0.4},
    {"halves": np.linspace(-0.6, 0.7, 29)},
]


@pytest.mark.parametrize("change", DIFFERENT_HALVES, ids=lambda change: next(iter(change)))
def test_without_the_same_halves_the_errors_are_independent(change):
    halves = np.linspace(-0.6, 0.7, 30)
    first = measured(1.0, halves, error=0.3)
    second = measured(2.0, **{"halves": halves, "error": 0.4, **change})
    found = compare_values(FID, ("vae", {0: first}), ("gan", {0: second}))
    assert (found.low, found.high) == pytest.approx(stats.norm(-1, 0.5).interval(0.95), rel=1e-6)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(2), rel=1e-6)


def test_an_error_larger_than_its_halves_show_enlarges_that_of_the_difference():
    rng = np.random.default_rng(3)
    first, second = drawn_halves(rng, 0), drawn_halves(rng, 0)
    plain, larger = (
        compare_values(
            FID,
            ("vae", {0: measured(1.0, first, error=factor * first.std(ddof=1))}),
            ("gan", {0: measured(1.0, second)}),
        )
        for factor in (1.0, 1.7)
    )
    assert larger.high == pytest.approx(1.7 * plain.high)


def test_seeds_add_their_spread_and_do_not_average_the_real_data_away():
    first = {seed: measured(value, error=0.2) for seed, value in enumerate((3.0, 3.8, 3.1))}
    second = {seed: measured(value, error=0.1) for seed, value in enumerate((2.0, 2.1))}
    found = compare_values(FID, ("vae", first), ("gan", second))
    of_seeds = [np.var([3.0, 3.8, 3.1], ddof=1) / 3, np.var([2.0, 2.1], ddof=1) / 2]
    variance = 0.05 + sum(of_seeds)
    freedom = variance**2 / (of_seeds[0] ** 2 / 2 + of_seeds[1] ** 2 / 1)
    expected = stats.t(df=freedom, loc=3.3 - 2.05, scale=math.sqrt(variance))
    assert (found.low, found.high) == pytest.approx(expected.interval(0.95), rel=1e-9)
    assert found.seeds == (3, 2)
    assert found.remarks == ()


def test_halves_of_several_seeds_know_the_error_better_but_do_not_make_it_smaller():
    rng = np.random.default_rng(7)
    halves = [drawn_halves(rng, 0) for _ in range(4)]
    first, second = (
        {seed: measured(value, its) for seed, its in enumerate(pair_of_seeds)}
        for value, pair_of_seeds in ((1.0, halves[:2]), (1.2, halves[2:]))
    )
    found = compare_values(FID, ("vae", first), ("gan", second))
    variances = [(halves[seed] - halves[seed + 2]).var(ddof=1) for seed in (0, 1)]
    reach = stats.t.ppf(0.975, df=58) * math.sqrt(np.mean(variances))
    assert found.high - found.difference == pytest.approx(reach, rel=1e-9)


def test_seeds_without_a_spread_give_the_interval_of_welchs_test():
    first, second = np.array([3.1, 4.4, 2.0]), np.array([1.0, 1.3, 0.9, 1.1])
    results = [
        {seed: measured(value, error=0.0) for seed, value in enumerate(values)}
        for values in (first, second)
    ]
    found = compare_values(FID, ("vae", results[0]), ("gan", results[1]))
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.low == pytest.approx(expected.confidence_interval(0.95).low, rel=1e-9)


def test_swapping_the_models_mirrors_the_comparison():
    rng = np.random.default_rng(4)
    first = {seed: measured(seed + 1.0, drawn_halves(rng, 1.0)) for seed in range(3)}
    second = {seed: measured(0.4 * seed, drawn_halves(rng, 1.0)) for seed in range(2)}
    there = compare_values(FID, ("vae", first), ("gan", second))
    back = compare_values(FID, ("gan", second), ("vae", first))
    assert (back.low, back.high, back.p_value) == pytest.approx(
        (-there.high, -there.low, there.p_value)
    )


@pytest.mark.parametrize(
    ("value", "seeds", "p_value"),
    [(2.0, 5, 1.0), (1.0, 1, 1.0), (1.0, 2, 0.5), (1.0, 5, 1 / 16), (3.0, 9, 1 / 256)],
)
def test_values_without_error_have_the_p_value_of_a_sign_test(value, seeds, p_value):
    results = [{seed: measured(each, error=0.0) for seed in range(seeds)} for each in (value, 2.0)]
    found = compare_values(FID, ("vae", results[0]), ("gan", results[1]))
    assert found.p_value == p_value
    if value != 2:
        expected = stats.wilcoxon([value - 2.0] * seeds, method="exact").pvalue
        assert found.p_value == pytest.approx(expected)
    assert found.low == found.high == value - 2


def test_without_error_only_seeds_of_both_count():
    results = [
        {seed: measured(value, error=0.0) for seed in seeds}
        for value, seeds in ((1.0, range(6)), (2.0, range(3, 9)))
    ]
    assert compare_values(FID, ("vae", results[0]), ("gan", results[1])).p_value == 1 / 4


def test_a_value_without_error_bar_is_not_compared():
    bare = replace(measured(1.0, error=0.1), standard_error=None)
    assert compare_values(FID, ("vae", {0: bare}), ("gan", {0: measured(1.0, error=0.1)})) is None


def test_one_number_a_seed_is_compared_over_seeds_alone():
    first, second = np.array([300.0, 500.0, 400.0]), np.array([900.0, 700.0, 900.0, 1_000.0])
    results = [
        {
            seed: replace(measured(value, error=0.1), standard_error=None)
            for seed, value in enumerate(values)
        }
        for values in (first, second)
    ]
    steps = METRIC["first_coverage"]
    found = compare_values(steps, ("vae", results[0]), ("gan", results[1]))
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.high == pytest.approx(expected.confidence_interval(0.95).high, rel=1e-9)
    assert found.remarks == ("First coverage: one number a seed, compared over seeds alone.",)


@pytest.mark.parametrize(("name", "better"), [("fid", "vae"), ("recall", "gan")])
def test_the_direction_of_the_metric_decides_who_is_better(name, better):
    results = [{0: measured(value, error=0.1)} for value in (1.0, 9.0)]
    found = compare_values(METRIC[name], ("vae", results[0]), ("gan", results[1]))
    assert found.better == better
    assert replace(found, corrected=0.06).verdict == "undecided"


def test_p_values_of_halves_are_uniform_for_models_that_do_not_differ():
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(400):
        real, first, second = rng.standard_normal((3, 100)) * [[3.0], [1.0], [1.0]]
        rows = [rng.permutation(100)[:50] for _ in range(30)]
        results = [
            {0: measured((real + own).mean(), [(real + own)[half].mean() for half in rows])}
            for own in (first, second)
        ]
        p_values.append(compare_values(FID, ("vae", results[0]), ("gan", results[1])).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
