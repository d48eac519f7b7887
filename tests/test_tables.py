import csv
import io
import math
import re
from dataclasses import replace

import pytest
from factories import MODELS, cell, full_cell, full_suite, result

from benchmark.metrics import METRICS
from benchmark.report.files import csv_table, markdown_table
from benchmark.report.long_table import long_table
from benchmark.report.numbers import written, written_with_spread
from benchmark.report.summary import Entry, mark_best, summarise
from benchmark.report.tables import build_table, build_tables
from benchmark.report.text import dataset_tables, summary_table


def entry(mean, error, meaning="estimate"):
    return Entry(mean, None, error, meaning, 1, 1)


def fids(model, *values, **settings):
    settings = {"samples": 400, "network": "digits-cnn", "reference": "test"} | settings
    return [
        cell("digits", model, seed, [result("fid", value, settings=settings, standard_error=0.1)])
        for seed, value in enumerate(values)
    ]


def texts(table):
    """{model: [entry as written]}."""
    return {
        row.model: [c.text(e) for c, e in zip(table.columns, row.entries, strict=True)]
        for _, rows in table.groups
        for row in rows
    }


def bold(table):
    """The models whose value in the first column is bold."""
    return {row.model for _, rows in table.groups for row in rows if row.entries[0].best}


# One row's value


def test_several_seeds_give_their_mean_and_standard_deviation():
    values = {0: result("fid", 3.0), 1: result("fid", 4.0), 2: result("fid", 8.0)}
    summary = summarise(values)
    assert summary.mean == pytest.approx(5.0)
    assert summary.spread == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_the_error_of_a_mean_adds_training_and_measuring():
    values = {
        0: result("fid", 3.0, standard_error=0.3),
        1: result("fid", 4.0, standard_error=0.5),
    }
    expected = math.sqrt(0.5 / 2 + (0.09 + 0.25) / 2)
    assert summarise(values).error == pytest.approx(expected)


def test_one_seed_shows_the_standard_error_of_its_measurement():
    summary = summarise({0: result("fid", 3.0, standard_error=0.3)})
    assert (summary.spread, summary.error) == (0.3, pytest.approx(0.3))


def test_an_interval_stands_in_for_a_missing_standard_error():
    lopsided = replace(result("fid", 3.0), low=2.0, high=2.0 + 2 * 1.96)
    assert summarise({0: lopsided}).error == pytest.approx(1.0)


def test_failed_seeds_leave_the_mean_of_the_others_and_a_reason():
    summary = summarise({0: result("fid", 3.0), 1: "failed: loss became nan", 2: result("fid", 5)})
    assert (summary.mean, summary.measured, summary.seeds) == (4.0, 2, 3)
    assert summary.reasons == ("seed 1: failed: loss became nan",)


def test_seeds_that_diverged_share_a_reason():
    ended = {seed: f"training diverged at step {seed * 700 + 65:,} of 3,000" for seed in range(4)}
    assert summarise(ended).reasons == ("training diverged between steps 65 and 2,165 of 3,000",)
    mixed = summarise({**ended, 4: result("fid", 3.0), 5: "not run"})
    assert mixed.reasons == (
        "seeds 0, 1, 2, 3: training diverged between steps 65 and 2,165 of 3,000",
        "seed 5: not run",
    )
    alone = summarise({0: ended[0], 1: result("fid", 3.0)})
    assert alone.reasons == ("seed 0: training diverged at step 65 of 3,000",)


def test_a_metric_is_dropped_for_its_own_reason_not_for_trainings_that_diverged():
    diverged = "training diverged at step 65 of 800"
    other = "training diverged at step 90 of 800"
    cells = [
        cell("ring", "gan", 0, [result("bits_per_dim", reason=diverged), result("nll", 2.0)]),
        cell("ring", "gan", 1, [result("bits_per_dim", reason=other), result("nll", 2.0)]),
        cell("ring", "vae", 0, [result("bits_per_dim", reason="points"), result("nll", 1.0)]),
    ]
    for some, why in (
        (cells, "points"),
        (cells[:2], "training diverged between steps 65 and 90 of 800"),
    ):
        remarks = build_table("likelihood", "ring", some, ()).remarks
        assert f"No column for bits/dim: {why}." in remarks


def test_what_divergence_counts_as_makes_no_column():
    ended = {"diverged": {"step": 65, "steps": 800}}
    lost = [result("modes", 0.0), result("rare_recall", 0.0)]
    cells = [
        cell("ring", "gan", 0, lost, training=ended),
        cell("ring", "vae", 0, [result("modes", 8.0), result("rare_recall", reason="none")]),
    ]
    table = build_table("modes", "ring", cells, ())
    assert [column.label for column in table.columns] == ["Modes"]
    assert table.groups[0][1][0].entries[0].mean == 0.0
    assert "No column for Rare modes: none." in table.remarks
    alone = build_table("modes", "ring", cells[:1], ())
    assert [column.label for column in alone.columns] == ["Modes", "Rare modes"]


def test_a_mean_that_holds_a_bound_is_a_bound():
    exact, bound = result("nll", 1.0, meaning="exact"), result("nll", 2.0, meaning="upper bound")
    assert summarise({0: exact, 1: bound}).meaning == "upper bound"


# Which rows are best


def test_ties_within_error_of_the_best_are_best_together():
    # The second differs by 1.9 joint errors, the third by 2.1.
    column = [entry(1.0, 0.3), entry(1.0 + 1.9 * 0.5, 0.4), entry(1.0 + 2.1 * 0.5, 0.4)]
    assert [e.best for e in mark_best(column, "lower")] == [True, True, False]


@pytest.mark.parametrize(("better", "best"), [("lower", 0), ("higher", 2), (None, None)])
def test_the_metric_says_which_way_is_good(better, best):
    marked = mark_best([entry(1.0, 0.01), entry(2.0, 0.01), entry(3.0, 0.01)], better)
    assert [e.best for e in marked] == [index == best for index in range(3)]


def test_a_bound_is_never_ranked_against_an_exact_value():
    column = [
        entry(2.0, 0.01, "exact"),
        entry(1.9, 0.01, "exact"),
        entry(1.2, 0.01, "upper bound"),
        entry(1.5, 0.01, "upper bound"),
    ]
    assert [e.best for e in mark_best(column, "lower")] == [False, True, True, False]


def test_a_value_without_a_rival_of_its_kind_is_not_bold():
    column = [
        entry(2.0, 0.01, "exact"),
        entry(1.9, 0.01, "exact"),
        entry(1.0, 0.01, "upper bound"),
    ]
    assert [e.best for e in mark_best(column, "lower")] == [False, True, False]


def with_numbers(model, *numbers, metric):
    return [
        cell("digits", model, seed, [result(metric, number, standard_error=0.001)])
        for seed, number in enumerate(numbers)
    ]


def test_p_values_are_shown_by_their_median_and_range():
    cells = [
        *with_numbers("vae", 0.9, 0.001, 0.02, metric="mmd_p"),
        *with_numbers("gmm", 0.5, 0.4, 0.3, metric="mmd_p"),
    ]
    table = build_table("tests", "digits", cells, MODELS)
    assert texts(table) == {"vae": ["0.020 (0.001–0.900)"], "gmm": ["0.400 (0.300–0.500)"]}
    rows = list(csv.DictReader(io.StringIO(csv_table(table))))
    assert [(row["model"], float(row["mmd_p"])) for row in rows] == [("vae", 0.02), ("gmm", 0.4)]
    assert any("the median over seeds" in remark for remark in table.remarks)


def test_one_seed_has_one_p_value():
    table = build_table("tests", "digits", with_numbers("vae", 0.25, metric="mmd_p"), MODELS)
    assert texts(table) == {"vae": ["0.250"]}
    assert not any("median" in remark for remark in table.remarks)


def test_no_model_is_the_best_of_a_test():
    cells = [*with_numbers("vae", 0.6, metric="c2st"), *with_numbers("gmm", 0.9, metric="c2st")]
    assert bold(build_table("tests", "digits", cells, MODELS)) == set()


def test_ceilings_and_floors_compete_with_nobody():
    cells = [*fids("vae", 3.0), *fids("gmm", 9.0), *fids("data", 1.0), *fids("noise", 80.0)]
    assert bold(build_table("samples", "digits", cells, MODELS)) == {"vae"}


# Rows, columns and notes


def test_rows_follow_the_order_given_inside_their_groups():
    cells = [full_cell("digits", m, 0) for m in ("noise", "gmm", "vae", "data", "gan", "ppca")]
    own = full_cell("digits", "vae", 0)
    own = replace(own, identity=replace(own.identity, model="mine"))
    order = ("mine", "vae", "gan", "gmm", "ppca", "noise", "data")
    table = build_table("samples", "digits", [*cells, own], order)
    assert [(group, [row.model for row in rows]) for group, rows in table.groups] == [
        ("Models", ["mine", "vae", "gan"]),
        ("Baselines", ["gmm", "ppca"]),
        ("Ceilings and floors", ["noise", "data"]),
    ]


def test_the_order_in_which_cells_come_does_not_matter():
    cells = full_suite(("digits",))
    assert build_tables("digits", cells, MODELS) == build_tables("digits", cells[::-1], MODELS)


def test_values_of_different_networks_never_share_a_column():
    cells = [*fids("vae", 3.0), *fids("gan", 1.0, network="inception"), *fids("gmm", 4.0)]
    table = build_table("samples", "digits", cells, MODELS)
    assert [column.head for column in table.columns] == [
        "FID ↓ (digits-cnn, n = 400)",
        "FID ↓ (inception, n = 400)",
    ]
    assert texts(table)["gan"][0] == "—"
    assert "measured with other settings" in table.footnotes.values()
    assert bold(table) == {"vae"}


def test_values_of_different_sample_counts_never_share_a_column():
    cells = [*fids("vae", 3.0), *fids("gan", 1.0, samples=2_000)]
    heads = [column.head for column in build_table("samples", "digits", cells, MODELS).columns]
    assert heads == ["FID ↓ (digits-cnn, n = 2,000)", "FID ↓ (digits-cnn, n = 400)"]


@pytest.mark.parametrize(
    ("metric", "settings", "n", "head"),
    [
        ("nll", {"examples": 400, "annealing": {"examples": 60}}, 60, "NLL ↓ (nats, n = 60)"),
        ("bdmc_gap", {"simulated": 30}, 30, "BDMC gap (nats, n = 30 simulated)"),
        ("ais_ess", {"examples": 60, "chains": 8}, 60, "Effective chains (of 8, n = 60)"),
        (
            "ais",
            {"examples": 60, "chains": 8, "temperatures": 2_000, "simulated": 30},
            60,
            "AIS ↑ (nats, n = 60, 8 chains, 2,000 temperatures)",
        ),
        (
            "parzen",
            {"examples": 400, "samples": 2_500},
            400,
            "Parzen (nats, n = 400, 2,500 samples)",
        ),
        ("observation_sigma", {}, None, "σ of observation (data units)"),
    ],
)
def test_a_head_counts_what_its_values_rest_on(metric, settings, n, head):
    found = replace(result(metric, 1.5, settings=settings), n=n)
    kind = next(each.table for each in METRICS if each.name == metric)
    table = build_table(kind, "digits", [cell("digits", "vae", 0, [found])], MODELS)
    assert head in [column.head for column in table.columns]


def test_a_head_counts_no_examples_where_rows_rest_on_different_ones():
    settings = {"examples": 400}
    cells = [
        cell("digits", model, 0, [replace(result("nll", 1.5, settings=settings), n=n)])
        for model, n in (("vae", 60), ("gmm", 400))
    ]
    table = build_table("likelihood", "digits", cells, MODELS)
    assert table.columns[0].head == "NLL ↓ (nats)"
    assert "Test examples averaged over: 400 for gmm; 60 for vae." in table.remarks


def test_the_order_of_settings_in_a_file_does_not_matter():
    one, other = {"samples": 400, "network": "cnn"}, {"network": "cnn", "samples": 400}
    cells = [
        cell("digits", "vae", 0, [result("fid", 3.0, settings=one)]),
        cell("digits", "gan", 0, [result("fid", 4.0, settings=other)]),
    ]
    assert len(build_table("samples", "digits", cells, MODELS).columns) == 1


def test_a_metric_that_applies_to_no_model_is_a_sentence_and_no_column():
    table = build_table("modes", "digits", full_suite(("digits",)), MODELS)
    assert table.columns == ()
    assert table.remarks == (
        "No column for Modes, High quality, KL over modes, Forward KL, Spread in modes, "
        "Rare modes, Support, Energy distance, Worst mode gap, First coverage and Modes lost: "
        "the data set's modes are not known.",
    )


def test_every_dash_has_a_letter_and_every_letter_a_reason():
    for table in build_tables("digits", full_suite(("digits",)), MODELS):
        for row in (row for _, rows in table.groups for row in rows):
            for entry, letters in zip(row.entries, row.letters, strict=True):
                assert letters or entry.measured == entry.seeds
                assert set(letters) <= set(table.footnotes)


def test_a_failed_cell_is_a_row_of_dashes_with_its_reason():
    cells = [*fids("vae", 3.0), cell("digits", "gan", 0, failure="loss became\nnan at step 7")]
    table = build_table("samples", "digits", cells, MODELS)
    assert texts(table)["gan"] == ["—"]
    assert table.footnotes == {"a": "failed: loss became nan at step 7"}


def test_control_characters_in_a_reason_are_dropped():
    cells = [*fids("vae", 3.0), cell("digits", "gan", 0, failure="\x1b[31mred\x00\tline\r\n")]
    table = build_table("samples", "digits", cells, MODELS)
    assert table.footnotes == {"a": "failed: [31mred line"}


def test_a_seed_that_was_not_run_is_said():
    table = build_table("samples", "digits", [*fids("vae", 3, 4), *fids("gan", 5)], MODELS)
    assert texts(table)["gan"] == ["5.00 (1 of 2)"]
    assert table.footnotes == {"a": "seed 1: not run"}
    assert table.remarks[-1].startswith("Not run on this data set: wgan_gp, vae_gan")


def test_results_of_an_older_metric_version_are_not_shown():
    old = result("fid", 0.1, settings={"samples": 400, "network": "digits-cnn"}, version=0)
    cells = [*fids("vae", 3.0), cell("digits", "gan", 0, [old])]
    assert texts(build_table("samples", "digits", cells, MODELS))["gan"] == ["—"]


def test_the_caption_says_what_the_error_bar_is():
    one, three = full_suite(("digits",), ("vae", "gan"), (0,)), full_suite(("digits",))
    assert "standard error" in build_table("samples", "digits", one, MODELS).caption
    assert "over 3 training seeds" in build_table("samples", "digits", three, MODELS).caption


# Numbers


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        (1.2345, 2, "1.23"),
        (123.456, 2, "123.46"),
        (1234.56, 2, "1,234.6"),
        (154_321.0, 0, "154,321"),
        (-1234567.8, 2, "−1,234,568"),
        (-0.00001, 3, "0.000"),
        (3.14e8, 2, "3.1e+08"),
        (0.0, 2, "0.00"),
    ],
)
def test_numbers_have_as_many_decimals_as_mean_something(value, decimals, expected):
    assert written(value, decimals) == expected


def test_an_error_has_the_decimals_of_its_value():
    assert written_with_spread(12_345.678, 3.21, 2) == "12,346 ± 3"
    assert written_with_spread(1.5, 0.25, 3) == "1.500 ± 0.250"
    assert written_with_spread(154_321.0, 0.0, 0) == "154,321"


def test_bounds_carry_their_sign():
    settings = {"examples": 400}
    bounds = [
        result("nll", 110.0, meaning="upper bound", standard_error=1.0, settings=settings),
        result("elbo", -120.0, meaning="lower bound", standard_error=1.0, settings=settings),
    ]
    exact = [result("nll", 90.0, meaning="exact", standard_error=1.0, settings=settings)]
    cells = [cell("digits", "vae", 0, bounds), cell("digits", "gmm", 0, exact)]
    values = build_table("likelihood", "digits", cells, MODELS)
    bounds = build_table("bounds", "digits", cells, MODELS)
    assert texts(values)["vae"][0] == "≤ 110.00 ± 1.00"
    assert texts(values)["gmm"][0] == "90.00 ± 1.00"
    assert texts(bounds)["vae"] == ["≥ −120.00 ± 1.00"]
    assert "≤ marks an upper bound" in values.caption
    assert "≥ marks a lower bound" in bounds.caption


def test_the_weakest_seed_says_what_a_mean_means():
    sandwich, exact = (result("nll", 1.0, meaning=each) for each in ("sandwich", "exact"))
    bound = result("nll", 2.0, meaning="upper bound")
    assert summarise({0: exact, 1: sandwich}).meaning == "sandwich"
    assert summarise({0: sandwich, 1: bound, 2: exact}).meaning == "upper bound"


# Formats


@pytest.mark.parametrize("kind", ["likelihood", "bounds", "samples", "cost"])
def test_markdown_columns_line_up(kind):
    text = markdown_table(build_table(kind, "digits", full_suite(("digits",)), MODELS))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert len({line.count("|") for line in lines}) == 1


def test_a_pipe_in_a_reason_does_not_break_the_markdown():
    cells = [*fids("vae", 3.0), cell("digits", "gan", 0, failure="p(x|z) <b> failed")]
    text = markdown_table(build_table("samples", "digits", cells, MODELS))
    assert r"p(x\|z) &lt;b> failed" in text


def test_the_csv_holds_bare_numbers_and_reasons():
    cells = [*fids("vae", 3.0, 4.0), cell("digits", "gan", 0, failure="stopped")]
    text = csv_table(build_table("samples", "digits", cells, MODELS))
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(text))}
    assert (float(rows["vae"]["fid"]), rows["vae"]["fid_seeds"]) == (3.5, "2 of 2")
    assert (rows["gan"]["fid"], rows["gan"]["notes"]) == (
        "",
        "fid: failed: stopped; fid: not run",
    )


# The terminal


def test_the_terminal_table_fits_80_columns():
    text = summary_table(full_suite(), MODELS, ("ring", "grid", "digits"))
    assert max(map(len, text.splitlines())) <= 80
    assert [line.split(":")[0] for line in text.splitlines() if line[-5:] == "seeds"] == [
        "ring",
        "grid",
        "digits",
    ]


def test_the_terminal_table_of_unfinished_cells_has_dashes():
    text = summary_table([*fids("vae", 3.0), cell("digits", "gan", 0)], MODELS)
    assert re.search(r"^gan +0/1 +—", text, flags=re.MULTILINE)
    assert summary_table([cell("digits", "gan", 0)]).splitlines()[1] == "no value yet"
    assert summary_table([]) == ""


def test_the_terminal_marks_sandwiches_and_bounds_and_says_what_they_are():
    lines = summary_table(full_suite(("digits",)), MODELS).splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith(MODELS)}
    assert [row for row in ("pixelcnn_pp", "vae", "ppca") if "≈" in rows[row]] == ["vae"]
    assert "≤" in rows["ppca"]
    assert lines[-1] == "≈ a sandwich: upper bound, its gap measured   ≤ upper bound, gap unknown"


def test_the_terminal_keeps_the_order_of_rows_that_the_likelihood_table_changes():
    lines = summary_table(full_suite(("digits",)), MODELS).splitlines()
    rows = [line.split()[0] for line in lines if line.startswith(MODELS)]
    assert rows[: len(MODELS)] == list(MODELS)


def test_rows_without_an_order_come_as_the_cells_do():
    cells = [*fids("vae", 3.0), *fids("mine", 2.0), *fids("gan", 1.0)]
    lines = summary_table(cells).splitlines()
    rows = [line.split()[0] for line in lines if line.startswith(("vae", "mine", "gan"))]
    assert rows == ["vae", "mine", "gan"]


def test_wide_terminal_tables_continue_below_and_lose_nothing():
    text = dataset_tables("digits", full_suite(("digits",)), MODELS)
    assert max(map(len, text.splitlines())) <= 80
    for metric in (metric for metric in METRICS if metric.table == "samples"):
        assert metric.label in text
    assert "loss 'generator' became nan" in " ".join(text.split())


def copies(model, seed, flagged):
    found = result("copies", 0.5 if flagged else 0.0, settings={"samples": 400})
    verdict = {"flagged": flagged, "p_value": 1e-9 if flagged else 0.4, "level": 0.001}
    return cell("digits", model, seed, [replace(found, details=verdict)])


def test_models_that_copy_the_training_set_are_named_with_their_seeds():
    cells = [copies("gan", 0, True), copies("gan", 1, False), copies("vae", 0, False)]
    (said,) = [remark for remark in memorisation(cells).remarks if "copies" in remark]
    assert said.endswith("(p < 0.001): gan (in 1 of 2 seeds).")
    (said,) = [remark for remark in memorisation(cells[1:]).remarks if "copies" in remark]
    assert said.endswith("none.")


def memorisation(cells):
    return build_table("memorisation", "digits", cells, MODELS)


def test_what_a_measurement_says_of_itself_stands_below_the_table_once():
    few = {"remark": "400 samples in 2048 dimensions are few"}
    cells = [
        replace(each, results=tuple(replace(found, details=few) for found in each.results))
        for each in fids("gan", 1.0, 2.0)
    ]
    remarks = build_table("samples", "digits", cells, MODELS).remarks
    assert remarks.count("FID: 400 samples in 2048 dimensions are few.") == 1


# What a suite does not ask for


def test_tables_and_metrics_that_no_cell_was_asked_for_are_not_mentioned():
    cells = [
        cell("digits", "vae", 0, [result("modes", 7.0), result("mode_kl", reason="none there")]),
        cell("digits", "gan", 0, [result("modes", 3.0)]),
    ]
    (table,) = build_tables("digits", cells, MODELS)
    assert table.name == "mode_coverage"
    assert texts(table) == {"vae": ["7.0"], "gan": ["3.0"]}
    dropped = [remark for remark in table.remarks if remark.startswith("No column")]
    assert dropped == ["No column for KL over modes: none there."]
    rows = csv.DictReader(io.StringIO(long_table(cells, MODELS, ["digits"])))
    assert {row["metric"] for row in rows} == {"modes", "mode_kl"}
    assert "Modes" in summary_table(cells, MODELS)


def test_the_floor_of_the_divergence_over_modes_stands_below_the_table():
    floors = [0.0014, 0.0014, 0.35]
    cells = [
        cell("ring", "gan", seed, [replace(result("mode_kl", 0.5), details={"floor": floor})])
        for seed, floor in enumerate(floors)
    ]
    for its, span in (
        (cells[:2], "0.0014."),
        (cells, "0.0014 to 0.3500, the more the fewer they"),
    ):
        (said,) = [r for r in build_table("modes", "ring", its, ()).remarks if "floor" in r]
        assert f"(k − 1) / 2n on average, a floor of {span}" in said
    assert not any("floor" in r for r in build_table("cost", "ring", cells, ()).remarks)


def test_seeds_that_trained_together_are_named_where_their_cost_is():
    cells = [
        cell("ring", model, seed, [result("train_seconds", 3.0)], training=training)
        for model, training in (("gan", {"together": 2}), ("vae", {}))
        for seed in (0, 1)
    ]
    (said,) = [r for r in build_table("cost", "ring", cells, ()).remarks if "together" in r]
    assert said.startswith("Trained together: gan (2 seeds). Each such seed has an equal share")
    assert not any("together" in r for r in build_table("modes", "ring", cells, ()).remarks)


def test_the_first_coverage_says_in_how_many_seeds_there_was_any():
    never = result("first_coverage", reason="training never covered all 8 modes")
    cells = [cell("ring", "gan", 0, [result("first_coverage", 300.0)])]
    cells += [cell("ring", "gan", seed, [never]) for seed in (1, 2)]
    table = build_table("modes", "ring", cells, ())
    assert texts(table) == {"gan": ["300 (1 of 3)"]}
    assert "seeds 1, 2: training never covered all 8 modes" in table.footnotes["a"]
