import math
from dataclasses import replace

import numpy as np
import pytest
from factories import cell, result
from scipy import stats

from benchmark.metrics import METRICS
from benchmark.paired import Comparison
from benchmark.report.p_values import benjamini_hochberg
from benchmark.verdicts import COMPARED, compare_cells, corrected_together

METRIC = {metric.name: metric for metric in METRICS}


def nll(values):
    values = np.asarray(values, dtype=np.float32)
    found = result("nll", float(values.mean()), meaning="exact")
    return replace(found, per_example=values, n=len(values))


def compared(name, p_value, low=1.0, high=2.0):
    return Comparison(METRIC[name], "vae", "gan", 1.5, low, high, 100, (1, 1), p_value)


@pytest.mark.parametrize("seed", range(5))
def test_corrected_p_values_are_scipys(seed):
    p_values = np.random.default_rng(seed).random(17) ** 3
    p_values[3] = p_values[11]
    np.testing.assert_allclose(
        benjamini_hochberg(p_values), stats.false_discovery_control(p_values)
    )


def test_no_p_value_needs_no_correction():
    assert benjamini_hochberg([]) == []
    assert benjamini_hochberg([0.3]) == [0.3]


def test_only_equal_models_are_called_different_in_one_of_twenty_families():
    p_values = np.random.default_rng(6).random((4_000, 12))
    found = np.mean([min(benjamini_hochberg(family)) <= 0.05 for family in p_values])
    assert found == pytest.approx(0.05, abs=0.01)


def test_the_same_likelihood_in_two_units_counts_once():
    rows = [compared("nll", 0.03), compared("bits_per_dim", 0.03), compared("fid", 0.9)]
    assert [row.corrected for row in corrected_together(rows)] == pytest.approx([0.06, 0.06, 0.9])
    assert [row.verdict for row in corrected_together(rows[:2])] == ["gan", "gan"]


def test_a_verdict_is_lost_among_many_metrics():
    rows = [compared(name, 0.9) for name in ("kid", "precision", "recall")]
    assert compared("fid", 0.03).verdict == "gan"
    assert corrected_together([compared("fid", 0.03), *rows])[0].verdict == "undecided"


def test_bounds_of_a_metric_without_slack_are_not_compared():
    gaps = [result("worst_mode_gap", 0.2, standard_error=0.01, meaning="exact")]
    bounds = [result("worst_mode_gap", 9.0, standard_error=0.01, meaning="sandwich")]
    cells = [cell("ring", "vae", 0, bounds), cell("ring", "gmm", 0, gaps)]
    assert "a bound" in compare_cells(cells, "gmm", "vae").missing["Worst mode gap"]
    cells = [cell("ring", "vae", 0, gaps), cell("ring", "gmm", 0, gaps)]
    assert [row.metric.name for row in compare_cells(cells, "gmm", "vae").rows] == [
        "worst_mode_gap"
    ]


def test_every_metric_with_a_direction_is_compared_or_says_why():
    halves = {"half_samples": {"values": [2.0, 2.2, 1.9], "share": 0.5}}
    fid = replace(result("fid", 2.0, standard_error=0.1), details=halves)
    other_fid = replace(result("fid", 2.5, standard_error=0.1), details=halves)
    cells = [
        cell("digits", "vae", 0, [fid, nll([90, 91, 92]), result("kid", 0.1)]),
        cell("digits", "gan", 0, [other_fid, nll([93, 94, 95]), result("kid", 0.2)]),
        cell("digits", "gmm", 0, [result("fid", reason="no network")]),
    ]
    found = compare_cells(cells, "vae", "gan")
    rows = {row.metric.name: row for row in found.rows}
    assert set(rows) == {"nll", "bits_per_dim", "fid"}
    assert rows["fid"].difference == -0.5
    assert rows["fid"].low == rows["fid"].high == -0.5  # the halves differ by nothing
    assert rows["fid"].verdict == "undecided"  # of one seed, without an error
    assert rows["nll"].verdict == rows["bits_per_dim"].verdict == "vae"
    assert found.missing["KID"] == "no error bar is stored, and one seed shows none"
    assert found.missing["Recall"] == "vae: not measured yet"
    assert set(found.missing) | {row.metric.label for row in found.rows} == {
        metric.label for metric in COMPARED
    }
    assert compare_cells(cells, "vae", "gmm").missing["FID"] == "gmm: no network"


def test_only_tables_of_quality_are_compared():
    assert {metric.table for metric in COMPARED}.isdisjoint({"cost", "bounds"})
    assert all(metric.better for metric in COMPARED)
    assert {"nll", "fid", "mmd", "modes", "c2st"} <= {metric.name for metric in COMPARED}


def test_seeds_that_were_not_measured_are_left_out():
    gan = [
        cell("digits", "gan", 0, [result("fid", 3.0, standard_error=0.1)]),
        cell("digits", "gan", 1, [result("fid", reason="it broke", failed=True)]),
    ]
    vae = cell("digits", "vae", 0, [result("fid", 1.0, standard_error=0.1)])
    (row,) = compare_cells([*gan, vae], "vae", "gan", [METRIC["fid"]]).rows
    assert (row.seeds, row.difference, row.verdict) == ((1, 1), -2.0, "vae")


ENDED = {"diverged": {"step": 7, "steps": 9}}


def kls(model, values, lost=0):
    """Cells of some seeds with a KL, and of others whose training diverged."""
    measured = [
        cell("ring", model, seed, [result("mode_kl", value, standard_error=0.01)])
        for seed, value in enumerate(values)
    ]
    reason = [result("mode_kl", reason="training diverged at step 7 of 9")]
    return measured + [
        cell("ring", model, seed, reason, training=ENDED)
        for seed in range(len(values), len(values) + lost)
    ]


def the_row(first, second, metric="mode_kl"):
    (row,) = compare_cells([*first, *second], "vae", "gan", [METRIC[metric]]).rows
    return row


def test_a_model_that_diverged_in_some_seeds_can_be_found_worse_and_never_better():
    low, high = [0.10, 0.11, 0.12], [0.5, 0.52, 0.51]
    assert the_row(kls("vae", low), kls("gan", high)).verdict == "vae"
    worse = the_row(kls("vae", low), kls("gan", high, lost=2))
    assert (worse.verdict, worse.low, worse.seeds) == ("vae", -math.inf, (3, 3))
    assert worse.high < 0
    assert worse.remarks == (
        "gan diverged in 2 of 5 seeds: in a metric without a value there, it can be found worse, "
        "never better.",
    )
    better = the_row(kls("vae", low, lost=1), kls("gan", high))
    assert (better.verdict, better.p_value, better.high) == ("undecided", 1.0, math.inf)
    mirrored = the_row(kls("vae", high), kls("gan", low, lost=1))
    assert (mirrored.verdict, mirrored.p_value, mirrored.low) == ("undecided", 1.0, -math.inf)
    both = the_row(kls("vae", low, lost=1), kls("gan", high, lost=1))
    assert (both.verdict, both.low, both.high) == ("undecided", -math.inf, math.inf)


def test_divergence_is_no_handicap_where_it_counts_already():
    cells = [
        *(
            cell("ring", "vae", seed, [result("modes", 8.0, standard_error=0.0)])
            for seed in range(6)
        ),
        *(
            cell("ring", "gan", seed, [result("modes", 0.0, standard_error=0.0)], training=ENDED)
            for seed in range(6)
        ),
    ]
    (row,) = compare_cells(cells, "vae", "gan", [METRIC["modes"]]).rows
    assert (row.verdict, row.p_value, row.remarks) == ("vae", 1 / 32, ())


def test_training_that_never_covered_all_modes_is_no_early_coverage():
    reason = "training never covered all 8 modes"
    seen = {"coverage": {"step": [0, 9], "modes": [0, 7]}}
    early = [
        *(cell("ring", "vae", seed, [result("first_coverage", 30.0 + seed)]) for seed in (0, 1)),
        cell("ring", "vae", 2, [result("first_coverage", reason=reason)], training=seen),
    ]
    late = [
        cell("ring", "gan", seed, [result("first_coverage", 900.0 + seed)]) for seed in range(3)
    ]
    row = the_row(early, late, "first_coverage")
    assert (row.verdict, row.p_value) == ("undecided", 1.0)
    assert row.remarks[-1].startswith("vae never covered all modes in 1 of 3 seeds: in a metric")


def test_the_handicap_follows_the_direction_of_the_metric():
    def recalls(model, value, lost=0):
        known = [
            cell("ring", model, seed, [result("recall", value, standard_error=0.01)])
            for seed in range(3)
        ]
        reason = [result("recall", reason="training diverged at step 7 of 9")]
        return known + [
            cell("ring", model, 3 + seed, reason, training=ENDED) for seed in range(lost)
        ]

    worse = the_row(recalls("vae", 0.9), recalls("gan", 0.2, lost=1), "recall")
    assert (worse.verdict, worse.high) == ("vae", math.inf)
    assert worse.low > 0
    better = the_row(recalls("vae", 0.9, lost=1), recalls("gan", 0.2), "recall")
    assert (better.verdict, better.p_value, better.low) == ("undecided", 1.0, -math.inf)
