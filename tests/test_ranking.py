"""Ranks of likelihoods: what exact values, sandwiches and bounds allow one to say."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from factories import MODELS, cell, per_example, result, sandwich
from scipy import stats

from benchmark.paired import compare_likelihoods
from benchmark.report.files import csv_table, markdown_table
from benchmark.report.ranking import (
    Standing,
    difference,
    leaders,
    rank_ranges,
    standing,
    undecided,
)
from benchmark.report.tables import build_table


def exact(model, value, error=0.5, examples=None):
    return Standing(model, "exact", value, error, 0.0, examples)


def between(model, value, gap, error=0.5, examples=None):
    return Standing(model, "sandwich", value, error, gap, examples)


def bound(model, value, error=0.5):
    return Standing(model, "upper bound", value, error, math.inf)


def nll(value, meaning, examples=None):
    found = result("nll", value, meaning=meaning, standard_error=0.5)
    return found if examples is None else replace(found, per_example=examples, n=len(examples))


# What is known of one model


def test_an_exact_value_lies_within_its_error():
    only = standing("a", {0: nll(90.0, "exact")}, {})
    assert only.interval == pytest.approx((90 - 0.98, 90 + 0.98))


def test_a_sandwich_reaches_down_by_its_gap_and_the_error_of_that():
    gap = result("bdmc_gap", 2.0, standard_error=0.25)
    only = standing("a", {0: nll(90.0, "sandwich")}, {0: gap})
    assert only.interval == pytest.approx((90 - 2 - 1.96 * 0.25 - 0.98, 90 + 0.98))


def test_a_gap_below_zero_is_no_gap():
    gap = result("bdmc_gap", -3.0, standard_error=0.25)
    assert standing("a", {0: nll(90.0, "sandwich")}, {0: gap}).slack == 0.0


@pytest.mark.parametrize("gaps", [{}, {0: "failed: out of memory"}])
def test_a_sandwich_without_a_measured_gap_is_a_plain_bound(gaps):
    assert standing("a", {0: nll(90.0, "sandwich")}, gaps).interval[0] == -math.inf


def test_a_plain_bound_is_open_below():
    only = standing("a", {0: nll(90.0, "upper bound")}, {})
    assert only.is_open
    assert only.interval == (-math.inf, pytest.approx(90.98))


def test_a_gap_beside_a_plain_bound_does_not_make_it_a_sandwich():
    gap = result("bdmc_gap", 2.0, standard_error=0.25)
    assert standing("a", {0: nll(90.0, "upper bound")}, {0: gap}).is_open


def test_one_bound_among_the_seeds_makes_a_bound_of_all():
    answers = {0: nll(90.0, "exact"), 1: nll(91.0, "upper bound"), 2: nll(91.5, "sandwich")}
    assert standing("a", answers, {}).meaning == "upper bound"


def test_no_value_and_no_bound_have_no_standing():
    assert standing("a", {0: "the model gives samples only"}, {}) is None
    assert standing("a", {0: nll(90.0, "estimate")}, {}) is None


# Two models


def test_examples_that_both_were_measured_on_make_the_difference_sharp():
    first, second = per_example(100.0, 400)[None], per_example(101.0, 100)[None]
    apart = difference(exact("a", 100.0, error=1.0), exact("b", 101.0, error=2.0))
    assert apart.error == pytest.approx(math.hypot(1.0, 2.0))
    paired = difference(
        exact("a", 100.0, 1.0, first.astype(float)), exact("b", 101.0, 2.0, second.astype(float))
    )
    expected = first[0, :100].astype(float) - second[0].astype(float)
    assert paired.value == pytest.approx(expected.mean())
    assert paired.error == pytest.approx(expected.std(ddof=1) / 10)
    assert paired.error < 0.2


def test_the_spread_of_the_seeds_widens_a_paired_difference():
    rng = np.random.default_rng(3)
    shared = 20 * rng.standard_normal(50)
    first = np.stack([shared + seed for seed in (1.0, 2.0, 6.0)])
    second = shared[None] + 10
    pair = difference(exact("a", 3.0, examples=first), exact("b", 10.0, examples=second))
    assert pair.value == pytest.approx(-7.0)
    assert pair.error == pytest.approx(math.sqrt(7 / 3))  # of 1, 2, 6 the variance is 7


def test_gaps_widen_a_difference_on_the_side_they_leave_open():
    reach = stats.norm.ppf(0.975) * math.hypot(0.5, 0.5)
    pair = difference(between("a", 90.0, gap=3.0), between("b", 95.0, gap=1.0))
    assert pair.reach == pytest.approx(reach)
    assert pair.low == pytest.approx(-5 - 3 - reach)
    assert pair.high == pytest.approx(-5 + 1 + reach)


def test_seeds_alone_give_the_interval_of_welchs_test():
    first, second = np.array([3.1, 4.4, 2.0]), np.array([1.0, 1.3, 0.9, 1.1])
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    stored = difference(
        exact("a", first.mean(), examples=np.tile(first[:, None], 2)),
        exact("b", second.mean(), examples=np.tile(second[:, None], 2)),
    )
    unstored = difference(
        *(
            standing(
                name, {s: result("nll", each, meaning="exact") for s, each in enumerate(its)}, {}
            )
            for name, its in (("a", first), ("b", second))
        )
    )
    for found in (stored, unstored):
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_three_gaps_leave_more_open_than_one():
    gaps = [result("bdmc_gap", gap, standard_error=0.1) for gap in (1.0, 1.5, 2.0)]
    slacks = [
        standing("a", {0: nll(90.0, "sandwich")}, dict(enumerate(its))).slack
        for its in (gaps, gaps[1:2])
    ]
    assert slacks[1] == pytest.approx(1.5 + 1.96 * 0.1, abs=1e-4)
    assert slacks[0] > 1.5 + 1.96 * math.hypot(0.5 / math.sqrt(3), 0.1)


@pytest.mark.parametrize(("of_seeds", "of_examples"), [(0.0, 3.0), (1.5, 0.2), (0.3, 3.0)])
def test_ranks_and_the_command_compare_give_one_answer(of_seeds, of_examples):
    rng = np.random.default_rng(11)
    common = 90 + 20 * rng.standard_normal(300)
    first, second = (
        common + of_examples * rng.standard_normal(300) + of_seeds * rng.standard_normal((3, 1))
        for _ in range(2)
    )
    pair = [
        Standing(name, "exact", its.mean(), 0.0, slack, its)
        for name, its, slack in (("a", first, 0.3), ("b", second, 1.2))
    ]
    ours, theirs = difference(*pair), compare_likelihoods(*pair)
    assert ours.value == pytest.approx(theirs.difference)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * ours.reach)


# Ranks


def test_rows_that_are_told_apart_have_one_place_each():
    rows = [exact("b", 95.0), between("a", 90.0, gap=1.0), exact("c", 120.0)]
    assert rank_ranges(rows) == {"a": (1, 1), "b": (2, 2), "c": (3, 3)}
    assert undecided(rows) == []


def test_overlapping_sandwiches_share_places():
    rows = [between("vae", 90.0, gap=1.0), between("gan", 93.0, gap=4.0), exact("gmm", 120.0)]
    assert rank_ranges(rows) == {"vae": (1, 2), "gan": (1, 2), "gmm": (3, 3)}
    assert undecided(rows) == ["vae and gan: undecided, the intervals of the sandwiches overlap."]


def test_a_gap_that_reaches_an_exact_value_leaves_the_pair_undecided():
    rows = [exact("gmm", 90.0), between("gan", 93.0, gap=4.0)]
    (sentence,) = undecided(rows)
    assert (
        sentence == "gmm and gan: undecided, the BDMC gap of gan reaches down to the exact value."
    )
    assert undecided([exact("gmm", 90.0), between("gan", 93.0, gap=0.5)]) == []


def test_a_plain_bound_is_never_behind_an_exact_value():
    rows = [exact("flow", 90.0), bound("vae", 200.0), exact("noise", 300.0)]
    assert rank_ranges(rows) == {"flow": (1, 2), "vae": (1, 2), "noise": (3, 3)}
    assert undecided(rows) == ["flow and vae: undecided, of vae only an upper bound is known."]


def test_a_bound_below_an_exact_value_decides():
    assert rank_ranges([exact("flow", 90.0), bound("vae", 80.0)]) == {
        "vae": (1, 1),
        "flow": (2, 2),
    }


def test_differences_within_error_are_named_as_such():
    rows = [exact("a", 90.0), exact("b", 90.3), exact("c", 90.5), exact("d", 99.0)]
    assert undecided(rows) == ["a and b; b and c: undecided, the difference is within its error."]


def test_leaders_are_those_that_nobody_is_certainly_better_than():
    rows = [exact("a", 90.0), exact("b", 90.3), exact("c", 95.0)]
    assert leaders(rows) == {"a", "b"}
    assert leaders(rows[:1]) == set()


# In the table


def likelihoods(model, value, meaning, role="model", n=200):
    settings = {"examples": 200}
    found = result("nll", value, meaning=meaning, standard_error=1.0, settings=settings)
    found = replace(found, n=n, per_example=per_example(value, n))
    gap = replace(result("bdmc_gap", 0.5, standard_error=0.1), details=sandwich(0.5))
    results = [found, gap] if meaning == "sandwich" else [found]
    return cell("ring", model, 0, results, role=role)


@pytest.fixture
def table():
    cells = [
        likelihoods("gan", 150.0, "sandwich", n=100),
        likelihoods("ppca", 140.0, "upper bound", role="baseline"),
        likelihoods("vae", 120.0, "sandwich", n=100),
        likelihoods("gmm", 130.0, "exact", role="baseline"),
        likelihoods("pixelcnn_pp", 110.0, "exact"),
        likelihoods("collapsed", 250.0, "upper bound", role="floor"),
        likelihoods("noise", 300.0, "exact", role="floor"),
        cell("ring", "wgan_gp", 0, [result("nll", reason="it gives samples only")]),
    ]
    return build_table("likelihood", "ring", cells, MODELS)


def shown(table, name):
    place = [column.label for column in table.columns].index(name)
    rows = [row for _, its in table.groups for row in its]
    return {row.model: table.columns[place].text(row.entries[place]) for row in rows}


def test_rows_are_grouped_by_meaning_and_sorted_by_value(table):
    assert [
        (title.split(":")[0], [row.label for row in rows]) for title, rows in table.groups
    ] == [
        ("Exact", ["pixelcnn_pp", "gmm (baseline)"]),
        ("Sandwich", ["vae", "gan"]),
        ("Upper bound, gap unknown", ["ppca (baseline)"]),
        ("No likelihood", ["wgan_gp"]),
        ("Ceilings and floors", ["noise (floor)", "collapsed (floor)"]),
    ]


def test_each_value_says_what_it_means(table):
    assert shown(table, "Meaning") == {
        "pixelcnn_pp": "exact",
        "gmm": "exact",
        "vae": "sandwich",
        "gan": "sandwich",
        "ppca": "upper bound",
        "wgan_gp": "—",
        "noise": "exact",
        "collapsed": "upper bound",
    }
    signs = {model: text[0] for model, text in shown(table, "NLL").items()}
    assert (signs["vae"], signs["ppca"]) == ("≈", "≤")
    assert "≈ marks a sandwich" in table.caption


def test_ranks_span_the_places_that_are_not_excluded(table):
    ranks = shown(table, "Rank")
    assert ranks["pixelcnn_pp"] == "1–3"  # ppca and collapsed may be better
    assert ranks["ppca"] == "1–5"  # its bound is below gan and noise
    assert ranks["noise"] == "7"
    assert ranks["wgan_gp"] == "—"
    assert any(
        line.startswith("Of ppca and collapsed only an upper bound is known")
        for line in table.remarks
    )


def test_rows_of_different_lengths_are_said(table):
    (line,) = [line for line in table.remarks if line.startswith("Test examples")]
    assert line.startswith("Test examples averaged over: 200 for ")
    assert "; 100 for " in line


def test_how_far_sandwiches_were_annealed_is_said():
    annealing = {"chains": 16, "temperatures": 3_000, "simulated": 40}
    found = [
        replace(each, question=replace(each.question, settings={"annealing": annealing}))
        for each in likelihoods("vae", 120.0, "sandwich").results
    ]
    table = build_table("likelihood", "ring", [cell("ring", "vae", 0, found)], ())
    (line,) = [line for line in table.remarks if line.startswith("Sandwiches")]
    assert "16 chains and 3,000 temperatures" in line
    assert "40 examples that the model drew" in line


def test_how_exact_integrals_are_is_said_of_the_worst_of_all():
    found = []
    for seed, (error, checked) in enumerate([(0.0011, 0.0004), (0.0052, 0.0001)]):
        details = {"quadrature": {"error": error, "checked": checked, "cells": 9, "pairs": 99}}
        (nll,) = [
            each
            for each in likelihoods("gan", 120.0, "exact").results
            if each.question.metric == "nll"
        ]
        found.append(cell("ring", "gan", seed, [replace(nll, details=details)]))
    table = build_table("likelihood", "ring", found, ())
    (line,) = [line for line in table.remarks if line.startswith("Exact values of one model")]
    assert "at most 0.006 nats" in line
    assert line.endswith("differ by at most 0.001 nats.")


def test_errors_over_examples_have_their_own_column(table):
    assert shown(table, "s.e.")["vae"] == "1.00"


def test_words_stand_in_the_csv_without_further_fields(table):
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(csv_table(table)))}
    assert (rows["vae"]["meaning"], rows["ppca"]["rank"]) == ("sandwich", "1–5")
    assert not {"rank_seeds", "meaning_se"} & set(rows["vae"])
    assert " sandwich |" in markdown_table(table)


def test_one_row_alone_has_no_rank_remarks():
    table = build_table("likelihood", "ring", [likelihoods("vae", 120.0, "sandwich")], ())
    assert not [line for line in table.remarks if line.startswith("Rank")]
