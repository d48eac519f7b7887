"""Likelihood against sample quality: what the panel shows, and where names stand."""

import numpy as np
import pytest
from factories import cell, full_suite, result

from benchmark.metrics import METRICS
from benchmark.report.scatter import apart, likelihood_figure
from benchmark.report.spans import span

KNOWN = {metric.name: metric for metric in METRICS}


def test_it_names_models_that_have_both_values():
    drawing = likelihood_figure(
        "digits", full_suite(("digits",)), ("vae", "gan"), KNOWN["nll"], KNOWN["fid"]
    )
    assert "for: vae, gan," in drawing.description
    assert "collapsed" not in drawing.description
    alone = [c for c in full_suite(("digits",)) if c.identity.model == "vae"]
    assert likelihood_figure("digits", alone, (), KNOWN["nll"], KNOWN["fid"]) is None


@pytest.mark.parametrize("astray", [0, 1])
def test_points_outside_the_panel_are_counted(astray):
    cells = [
        cell(
            "digits",
            f"m{model}",
            seed,
            [result("nll", 100 + 3 * model + seed), result("fid", 9 + 2 * model + seed)],
        )
        for model in range(4)
        for seed in range(3)
    ]
    cells += [
        cell("digits", "m0", 3 + one, [result("nll", 4000.0), result("fid", 8.0)])
        for one in range(astray)
    ]
    caption = likelihood_figure("digits", cells, (), KNOWN["nll"], KNOWN["fid"]).caption
    assert caption.endswith("outside the panel (1 of 13)." if astray else "ceilings and floors.")


def test_an_axis_leaves_out_what_lies_beyond_three_interquartile_ranges():
    within = np.linspace(-1, 1, 101)  # quartiles of all 103 are near -0.5 and 0.5
    shown = span(np.concatenate([within, [3.0, 6.0]]), np.zeros(1))
    assert (shown.low, shown.high) == pytest.approx((-1.2, 3.2))
    assert shown.misses(np.array([-1.0, 3.0, 6.0])).tolist() == [False, False, True]


def test_an_axis_shows_everything_where_outliers_lie_near():
    values = np.concatenate([np.linspace(-1, 1, 101), [3.0, 4.9]])
    assert not span(values, np.zeros(1)).misses(values).any()


def test_an_axis_shows_the_middle_of_every_model_however_far():
    shown = span(np.concatenate([np.linspace(-1, 1, 101), [30.0]]), np.array([0.0, 30.0]))
    assert shown.high == pytest.approx(31.55)


def test_outliers_of_a_logarithmic_axis_are_those_of_logarithms():
    values = np.exp(np.linspace(-4, 4, 81))
    shown = span(np.append(values, np.exp(30.0)), np.ones(1))
    assert shown.is_log
    assert np.log([shown.low, shown.high]) == pytest.approx([-4.4, 4.4])
    assert not span(values - 1, np.zeros(1)).is_log


def test_equal_values_have_an_axis():
    shown = span(np.full(5, 2.0), np.full(2, 2.0))
    assert (shown.low, shown.high) == (1.5, 2.5)


@pytest.mark.parametrize(
    "heights",
    [[0.1], [0.2, 0.21, 0.5], [0.9, 0.95, 0.97, 1.0], [0.0] * 20, [1.0] * 20, [0.0, *[0.9] * 19]],
)
def test_names_keep_their_order_and_their_distance_within_the_panel(heights):
    placed = apart(heights, 0.05)
    assert all(gap > 0.05 - 1e-9 for gap in np.diff(placed))
    assert max(placed) <= 1
    assert min(placed) >= 0
    assert np.abs(np.array(placed) - heights).max() < 0.05 * len(heights)
