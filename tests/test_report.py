import csv
import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from factories import MODELS, cell, full_cell, full_suite, result

from benchmark import store
from benchmark.metrics import METRICS
from benchmark.report import write_report
from benchmark.report.curves import averaged, curves_figure
from benchmark.report.figures import samples_figure
from benchmark.report.page import failures, provenance

LONG_COLUMNS = [
    *("dataset", "model", "seed", "metric", "meaning", "value", "standard_error", "low", "high"),
    *("n", "status", "reason", "seconds"),
]


def written(folder, cells, **others):
    arguments = {"title": "Suite", "models": MODELS, "datasets": ("ring", "grid", "digits")}
    write_report(folder, cells=cells, **arguments | others)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def suite():
    return full_suite()


@pytest.fixture(scope="module")
def report(tmp_path_factory, suite):
    folder = tmp_path_factory.mktemp("report")
    return folder, written(folder, suite)


def test_a_report_has_its_tables_figures_and_page(report):
    tables = [
        f"tables/{kind}_{dataset}.{suffix}"
        for dataset in ("ring", "grid", "digits")
        for kind in ("likelihood", "sample_quality", "mode_coverage", "cost")
        for suffix in ("md", "csv", "tex")
        if (dataset, kind) != ("digits", "mode_coverage")  # a sentence on the page says why
    ]
    figures = [f"figures/samples_{name}.png" for name in ("ring", "grid", "digits")]
    figures += [f"figures/curves_{name}.svg" for name in ("ring", "grid", "digits")]
    assert sorted(report[1]) == sorted([*tables, *figures, "results.csv", "index.html"])


def test_a_second_report_is_the_same_byte_for_byte(report, suite, tmp_path):
    for index, stored in enumerate(suite):
        store.save(stored, tmp_path / "results")
        if index == 0:
            assert store.load_all(tmp_path / "results")[0].identity == stored.identity
    again = written(tmp_path / "again", store.load_all(tmp_path / "results"))
    assert again == report[1]


def test_a_suite_of_108_cells_stays_far_below_ten_megabytes(report):
    assert sum(map(len, report[1].values())) < 4e6


def test_a_data_set_that_is_gone_takes_its_files_along(tmp_path):
    written(tmp_path, full_suite(("ring", "digits"), ("vae",), (0,)))
    (tmp_path / "tables" / "notes.txt").write_text("the user's own")
    files = written(tmp_path, full_suite(("digits",), ("vae",), (0,)))
    assert not [name for name in files if "ring" in name]
    assert "tables/notes.txt" in files
    assert "tables/cost_digits.md" in files


def test_a_report_without_cells_is_a_page_without_tables(tmp_path):
    assert sorted(written(tmp_path, [])) == ["index.html", "results.csv"]


def test_unfinished_cells_are_reported_too(tmp_path):
    files = written(tmp_path, [cell("digits", "vae", 0), cell("ring", "gan", 0, failure="broke")])
    assert b"broke" in files["index.html"]
    assert not [name for name in files if name.startswith("figures/")]


# results.csv


def test_the_long_table_has_its_columns_in_order_and_a_row_for_every_question(report, suite):
    table = pd.read_csv(report[0] / "results.csv")
    assert list(table.columns[: len(LONG_COLUMNS)]) == LONG_COLUMNS
    assert len(table) == len(suite) * len(METRICS)
    assert not table.duplicated(["dataset", "model", "seed", "metric"]).any()
    assert list(table["dataset"].unique()) == ["ring", "grid", "digits"]
    assert list(table["model"].unique()) == list(MODELS)


def test_the_long_table_holds_the_stored_numbers_exactly(report, suite):
    lines = csv.DictReader(io.StringIO(report[1]["results.csv"].decode()))
    keys = ("dataset", "model", "seed", "metric")
    rows = {tuple(line[key] for key in keys): line for line in lines}
    for stored in suite[::7]:
        identity = stored.identity
        for answer in (r for r in stored.results if r.status == "measured"):
            where = (identity.dataset, identity.model, str(identity.seed), answer.question.metric)
            assert float(rows[where]["value"]) == answer.value
            assert float(rows[where]["seconds"]) == answer.seconds
            assert int(rows[where]["n"]) == answer.n
            assert rows[where]["meaning"] == answer.meaning


def test_every_row_without_a_value_has_a_reason(report):
    table = pd.read_csv(report[0] / "results.csv")
    assert table.loc[table["value"].isna(), "reason"].notna().all()
    assert set(table["status"]) == {"measured", "not applicable", "failed"}


def test_a_failed_cell_fails_in_every_metric(report):
    table = pd.read_csv(report[0] / "results.csv").query(
        "dataset == 'digits' and model == 'gan' and seed == 1"
    )
    assert list(table["metric"]) == [metric.name for metric in METRICS]
    assert set(table["status"]) == {"failed"}
    assert set(table["reason"]) == {"loss 'generator' became nan at step 310: stopped"}


# Figures


def test_figures_carry_no_date_and_no_program(report):
    for name, content in report[1].items():
        if name.endswith(".svg"):
            assert b"<dc:date>" not in content
            ElementTree.fromstring(content)
        if name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
            assert b"tEXt" not in content
            assert b"tIME" not in content


def test_figures_show_the_lowest_seed_of_each_model():
    cells = [full_cell("digits", "vae", seed) for seed in (3, 1, 2)]
    alone = samples_figure("digits", [cells[1]], MODELS)
    assert samples_figure("digits", cells, MODELS).content == alone.content
    assert "seed 1" in alone.caption


@pytest.mark.parametrize("dataset", ["ring", "digits", "colours"])
def test_points_grey_images_and_colour_images_are_drawn(dataset):
    figure = samples_figure(dataset, [full_cell(dataset, "vae", 0)], MODELS)
    assert figure.file_name == f"samples_{dataset}.png"


def test_a_model_that_failed_has_an_empty_panel():
    cells = [full_cell("ring", "vae", 0), cell("ring", "gan", 0, failure="broke")]
    assert samples_figure("ring", cells, MODELS).description.startswith(
        "Points of ring drawn by each of: gan, vae"
    )


def test_points_in_many_dimensions_are_not_drawn():
    many = replace(full_cell("ring", "vae", 0), shape=(5,), real=np.zeros((9, 5), np.float32))
    assert samples_figure("ring", [many], MODELS) is None


def test_long_curves_are_averaged_over_equal_stretches():
    steps, values = averaged(list(range(1, 1_201)), [step % 2 for step in range(1_200)])
    assert len(steps) == 120
    assert steps[0] == pytest.approx(5.5)
    np.testing.assert_allclose(values, 0.5)


def test_short_curves_are_left_as_they_are():
    steps, values = averaged([1, 2, 3], [3.0, 1.0, 2.0])
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3], [3.0, 1.0, 2.0])


def test_without_curves_there_is_no_figure():
    assert curves_figure("ring", [full_cell("ring", "data", 0)], MODELS) is None


# What the page says besides


def test_provenance_lists_each_distinct_value_once():
    cells = [
        cell("ring", "vae", seed, provenance={"device": "cpu", "versions": {"torch": "2.11.0"}})
        for seed in (1, 0)
    ]
    other = cell("ring", "gan", 0, provenance={"device": "cuda"})
    facts = dict(provenance([*cells, other]))
    assert facts["device"] == "cpu; cuda"
    assert facts["versions"] == "torch 2.11.0"
    assert facts["training seeds"] == "0, 1"


def test_failures_name_cell_metric_and_reason():
    bad = result("fid", reason="singular\ncovariance", failed=True)
    cells = [cell("ring", "vae", 2, [bad]), cell("digits", "gan", 0, failure="became nan")]
    assert failures(cells) == [
        ("digits", "gan", 0, "the model", "became nan"),
        ("ring", "vae", 2, "FID", "singular covariance"),
    ]


def test_results_of_older_metric_versions_are_counted_on_the_page(tmp_path):
    old = [result("fid", 1.0, version=0), result("no_longer_measured", 2.0)]
    fresh = result("kid", 0.1, settings={"samples": 400})
    files = written(tmp_path, [cell("digits", "gan", 0, [*old, fresh])])
    assert b"2 stored results of older metric versions" in files["index.html"]
    assert b"no_longer_measured" not in files["results.csv"]


def test_text_from_models_is_shown_and_not_run(tmp_path):
    files = written(tmp_path, [cell("ring", "gan", 0, failure="<script>alert(1)</script>")])
    assert b"<script>alert" not in files["index.html"]
    assert b"&lt;script&gt;alert(1)" in files["index.html"]
