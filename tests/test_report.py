import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass, replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from factories import MODELS, cell, damaged_suite, full_cell, full_suite, result
from matplotlib.figure import Figure

from benchmark import store
from benchmark.manifest import load_manifest
from benchmark.metrics import METRICS
from benchmark.metrics.base import Annealing
from benchmark.report import sections, write_report
from benchmark.report.contents import current
from benchmark.report.curves import averaged, curves_figure, svg
from benchmark.report.figures import png, samples_figure
from benchmark.report.neighbours import neighbours_figure, pairs_canvas
from benchmark.report.page import Section, failures, provenance
from benchmark.report.sandwich import sandwich_figure
from benchmark.report.spectra import spectra_figure
from benchmark.report.tables import build_tables

LONG_COLUMNS = [
    *("dataset", "model", "seed", "metric", "meaning", "value", "standard_error", "low", "high"),
    *("n", "status", "reason", "seconds"),
]
KINDS_OF_TABLES = (
    *("likelihood", "bounds", "ais_diagnostics", "sample_quality", "distances"),
    *("two_sample_tests", "memorisation", "mode_coverage", "cost"),
)


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
        for kind in KINDS_OF_TABLES
        for suffix in ("md", "csv", "tex")
        if (dataset, kind) != ("digits", "mode_coverage")  # a sentence on the page says why
    ]
    figures = [f"figures/samples_{name}.png" for name in ("ring", "grid", "digits")]
    figures += [f"figures/curves_{name}.svg" for name in ("ring", "grid", "digits")]
    figures += [f"figures/ais_{name}.svg" for name in ("ring", "grid", "digits")]
    figures += ["figures/spectra_digits.svg", "figures/neighbours_digits.png"]
    agreement = [f"tables/agreement_{name}.csv" for name in ("ring", "grid", "digits")]
    for kind in ("agreement", "scatter"):
        agreement += [f"figures/{kind}_{name}.svg" for name in ("ring", "grid", "digits")]
    pages = ["results.csv", "index.html", "agreement.html"]
    assert sorted(report[1]) == sorted([*tables, *figures, *agreement, *pages])


def test_processes_give_the_same_files_and_tell_how_far_they_are(tmp_path, monkeypatch):
    cells = full_suite(("grid", "ring"), ("vae", "gan"), (0,))
    told = []
    alone = written(tmp_path / "alone", cells)
    monkeypatch.setattr(sections, "MANY", len(cells))
    monkeypatch.setattr(sections.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(sections.Material, "made", None)  # of no use to other processes
    files = written(tmp_path / "side", cells, progress=lambda *seen: told.append(seen))
    assert files == alone
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_a_second_report_is_the_same_byte_for_byte(report, suite, tmp_path):
    for index, stored in enumerate(suite):
        store.save(stored, tmp_path / "results")
        if index == 0:
            assert store.load_all(tmp_path / "results")[0].identity == stored.identity
    again = written(tmp_path / "again", store.load_all(tmp_path / "results"))
    assert again == report[1]


def test_a_suite_of_108_cells_stays_below_ten_megabytes(report):
    assert sum(map(len, report[1].values())) < 1e7


def test_a_data_set_that_is_gone_takes_its_files_along(tmp_path):
    written(tmp_path, full_suite(("ring", "digits"), ("vae",), (0,)))
    (tmp_path / "tables" / "notes.txt").write_text("the user's own")
    files = written(tmp_path, full_suite(("digits",), ("vae",), (0,)))
    assert not [name for name in files if "ring" in name]
    assert "tables/notes.txt" in files
    assert "tables/cost_digits.md" in files


def test_a_report_without_cells_is_a_page_without_tables(tmp_path):
    assert sorted(written(tmp_path, [])) == ["index.html", "results.csv"]


def test_a_report_of_damaged_images_says_what_each_metric_sees(tmp_path):
    files = written(tmp_path, damaged_suite({"blur": (2.0, 9.0)}))
    assert {
        "sensitivity.html",
        "figures/sensitivity_digits.svg",
        "tables/sensitivity_digits.csv",
    } < set(files)
    assert b'href="sensitivity.html"' in files["index.html"]
    assert b'href="index.html"' in files["sensitivity.html"]


def test_a_page_whose_question_is_no_longer_answered_goes_away(tmp_path):
    assert "sensitivity.html" in written(tmp_path, damaged_suite({"blur": (2.0, 9.0)}))
    (tmp_path / "notes.html").write_text("the user's own")
    files = written(tmp_path, full_suite(("ring",), ("vae", "gan"), (0,)))
    assert not [name for name in files if "sensitivity" in name or "agreement" in name]
    assert b"sensitivity.html" not in files["index.html"]
    assert "notes.html" in files


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


def test_continuous_images_are_drawn_from_black_at_zero_to_white_at_one():
    grey = full_cell("digits", "vae", 0)
    samples, real = (images.astype(np.float32) / 16 for images in (grey.samples, grey.real))
    floats = replace(grey, levels=None, samples=samples, real=real)
    drawn = samples_figure("digits", [floats], MODELS)
    assert drawn.description.startswith("Images of digits")
    assert drawn.content == samples_figure("digits", [grey], MODELS).content
    beyond = replace(floats, samples=3 * samples - 1, real=3 * real - 1)
    cut = replace(floats, samples=(3 * samples - 1).clip(0, 1), real=(3 * real - 1).clip(0, 1))
    contents = [samples_figure("digits", [each], MODELS).content for each in (beyond, cut)]
    assert contents[0] == contents[1]


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


def test_a_crowd_of_lines_is_a_picture_and_a_few_are_lines():
    seeds = [full_cell("ring", "gan", seed) for seed in range(10)]
    cells = [
        replace(each, identity=replace(each.identity, model=f"gan_{number}"))
        for number in range(7)
        for each in seeds
    ]
    few, crowd = (curves_figure("ring", its, ()) for its in (cells[:60], cells))
    assert (few.file_name, crowd.file_name) == ("curves_ring.svg", "curves_ring.png")
    assert crowd.content.startswith(b"\x89PNG")


def test_every_decoder_has_its_sandwich_drawn_at_its_lowest_seed(suite):
    cells = [each for each in suite if each.identity.dataset == "digits"]
    drawing = sandwich_figure("digits", cells, MODELS)
    assert drawing.file_name == "ais_digits.svg"
    first = {
        each.identity.model: answer.value
        for each in reversed(cells)  # the lowest seed comes last, and stays
        for answer in each.results
        if answer.question.metric == "bdmc_gap" and answer.value is not None
    }
    assert sorted(first) == ["gan", "vae", "vae_gan", "wgan_gp"]
    for model, gap in first.items():
        assert f"{model} {gap:.2f}" in drawing.description
    assert sandwich_figure("digits", cells[::-1], MODELS).content == drawing.content


def test_without_a_sandwich_there_is_no_figure_of_one():
    assert sandwich_figure("ring", [full_cell("ring", "gmm", 0)], MODELS) is None


def test_many_decoders_are_drawn_in_several_rows():
    some = full_cell("ring", "vae", 0)
    cells = [replace(some, identity=replace(some.identity, model=f"m{i}")) for i in range(6)]
    few, many = (
        float(ElementTree.fromstring(sandwich_figure("ring", its, ()).content).get("height")[:-2])
        for its in (cells[:3], cells)
    )
    assert many > 1.5 * few


def test_spectra_are_drawn_with_their_distance_and_points_have_none():
    cells = [full_cell("digits", model, seed) for seed in (2, 1) for model in ("vae", "gan")]
    drawing = spectra_figure("digits", cells, ("gan", "vae"))
    distance = next(r.value for r in cells[3].results if r.question.metric == "spectral")
    assert f": gan {distance:.2f} dB; vae " in drawing.description
    assert "Seed 1." in drawing.caption
    assert spectra_figure("ring", [full_cell("ring", "vae", 0)], MODELS) is None


@pytest.mark.parametrize("dataset", ["digits", "colours"])
def test_samples_are_drawn_above_their_nearest_training_images(dataset):
    cells = [full_cell(dataset, "vae", 0), cell(dataset, "gan", 0, failure="broke")]
    drawing = neighbours_figure(dataset, cells, MODELS)
    assert drawing.description.endswith("for: vae.")
    assert neighbours_figure("ring", [full_cell("ring", "vae", 0)], MODELS) is None


def test_a_canvas_of_pairs_holds_each_image_in_its_place():
    pair = {"pairs": {"generated": [[[[0, 4]]], [[[4, 0]]]], "nearest": [[[[2, 2]]], [[[1, 3]]]]}}
    held = replace(result("nn_distance_ratio", 1.0), details=pair)
    expected = [[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0.5, 0.5, 1, 0.25, 0.75]]
    np.testing.assert_allclose(pairs_canvas([held], levels=5), expected)


# Values of papers


@dataclass(frozen=True)
class Printed:
    model: str
    value: float
    error: float | None = None
    metric: str = "nll"
    source: str = "Doe et al. 2020, Table 3"
    protocol: str = "importance sampling with 5,000 samples"
    dataset: str = "digits"


def published_table(*printed):
    tables = build_tables("digits", full_suite(("digits",)), MODELS, printed)
    return next(table for table in tables if table.name == "published")


def test_published_values_stand_beside_ours_in_columns_of_their_own():
    best = Printed("wgan_gp", 70.0)
    table = published_table(Printed("vae", 86.2, 0.3), Printed("gan", 95.0), best)
    ours, theirs = table.columns
    assert (ours.details[0], theirs.details[0]) == ("here", "Doe et al. 2020")
    rows = {row.model: row for _, its in table.groups for row in its}
    assert list(rows) == ["gan", "wgan_gp", "vae"]
    assert theirs.text(rows["vae"].entries[1]) == "86.20 ± 0.30"
    assert theirs.text(rows["gan"].entries[1]) == "95.00"
    assert ours.text(rows["vae"].entries[0]).startswith("≈ ")
    assert not any(entry.best for row in rows.values() for entry in row.entries)
    assert table.remarks[0] == (
        "NLL of Doe et al. 2020, Table 3: importance sampling with 5,000 samples."
    )


def test_values_of_different_protocols_never_share_a_column():
    other = Printed("gan", 95.0, protocol="Parzen windows")
    table = published_table(Printed("vae", 86.2), other)
    assert len(table.columns) == 3
    rows = {
        row.model: [entry.mean for entry in row.entries[1:]] for _, r in table.groups for row in r
    }
    assert rows == {"vae": [86.2, None], "gan": [None, 95.0]}


def test_a_published_model_that_was_not_run_has_a_row_and_a_reason():
    table = published_table(Printed("draw", 80.97))
    assert table.groups[-1][0] == "Not run"
    assert table.footnotes == {"a": "not run"}


def test_a_published_metric_that_is_not_measured_here_has_one_column():
    (column,) = published_table(Printed("vae", 1.0, metric="mos")).columns
    assert column.head == "mos (Doe et al. 2020)"


def test_published_values_are_written_for_their_data_set_alone(tmp_path):
    cells = full_suite(("ring", "digits"), ("vae",), (0,))
    files = written(tmp_path, cells, published=(Printed("vae", 86.2),))
    assert "tables/published_digits.md" in files
    assert "tables/published_ring.md" not in files
    assert b"Doe et al. 2020" in files["index.html"]
    assert b"Doe" not in files["tables/likelihood_digits.md"]


def test_a_manifest_carries_published_values_and_one_without_them_is_read(tmp_path):
    old = {
        "title": "Old",
        "description": "",
        "budget": 1.0,
        "models": ["vae"],
        "datasets": {"ring": {"samples": 10, "examples": 10, "network": None}},
    }
    (tmp_path / "run.json").write_text(json.dumps(old))
    assert load_manifest(tmp_path).published == ()
    assert load_manifest(tmp_path).datasets["ring"].conditions().annealing == Annealing()
    (tmp_path / "run.json").write_text(
        json.dumps(old | {"published": [asdict(Printed("vae", 3.0))]})
    )
    manifest = load_manifest(tmp_path)
    manifest.save(tmp_path)
    assert load_manifest(tmp_path) == manifest
    assert manifest.published[0].value == 3.0


# What the page says besides


@pytest.mark.parametrize(
    ("shape", "levels", "words"),
    [
        ((2,), None, "points in 2 dimensions"),
        ((1, 8, 8), 17, "1×8×8 images, 17 levels"),
        ((1, 28, 28), None, "1×28×28 continuous images"),
    ],
)
def test_a_data_set_is_said_to_hold_what_it_holds(shape, levels, words):
    assert Section("any", [cell(shape=shape, levels=levels)], (), ()).space == words


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


def labelled_figure():
    figure = Figure((3, 2), 110, layout="constrained", facecolor="white")
    panel = figure.subplots()
    panel.semilogy([1, 2, 3], [0.1, 20, 3000], label="a long label")
    panel.set(title="a title", xlabel="step")
    figure.legend(loc="outside lower center")
    return figure


def test_a_figure_is_drawn_as_matplotlib_saves_it():
    saved = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "benchmark"}):
        labelled_figure().savefig(saved[0], format="svg", metadata={"Date": None, "Creator": None})
    labelled_figure().savefig(saved[1], format="png", metadata={"Software": None})
    assert svg(labelled_figure()) == saved[0].getvalue()
    assert png(labelled_figure()) == saved[1].getvalue()


def test_results_of_a_metric_come_in_the_order_of_their_settings_whatever_that_of_the_cell():
    metric = next(metric for metric in METRICS if metric.name == "fid")
    plain = result("fid", 1.0)
    few, many = (
        replace(plain, question=replace(plain.question, settings={"samples": samples}))
        for samples in (100, 200)
    )
    older = replace(plain, question=replace(plain.question, version=metric.version - 1))
    others = (result("kid", 2.0), older)
    for results in ((few, *others, many), (many, *others, few)):
        assert current(cell("ring", "gmm", 0, results), metric) == [few, many]
    assert current(cell("ring", "gmm", 0, others), metric) == []
