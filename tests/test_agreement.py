import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from factories import cell, full_suite, result
from scipy import stats

from benchmark.report.agreement import correlations, rank_correlation
from benchmark.report.agreement_page import agreement_page

TRUTH = np.random.default_rng(3).standard_normal(8)  # how good each of eight models is


def noisy_cells(models=8, seeds=3, noise=0.6):
    """Cells whose FID and precision both follow how good their model is, with ties."""
    rng = np.random.default_rng(11)
    return [
        cell(
            "digits",
            f"m{model}",
            seed,
            [
                result("fid", 20 - TRUTH[model] + noise * rng.standard_normal()),
                result("precision", round(0.1 * TRUTH[model] + 0.05 * rng.standard_normal(), 1)),
            ],
        )
        for model in range(models)
        for seed in range(seeds)
    ]


def values(cells, metric):
    return np.array(
        [next(r.value for r in c.results if r.question.metric == metric) for c in cells]
    )


def without(cells, metric, *models):
    return [
        replace(c, results=tuple(r for r in c.results if r.question.metric != metric))
        if c.identity.model in models
        else c
        for c in cells
    ]


def test_ranks_with_ties_give_the_correlation_of_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, 30), rng.standard_normal(30)
    second[4] = second[9]
    expected = stats.spearmanr(first, second).statistic
    assert rank_correlation(first, second, np.ones((1, 30)))[0] == pytest.approx(expected)


def test_a_row_that_counts_several_times_is_as_good_as_its_copies():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 5, 12), rng.standard_normal(12)
    counts = rng.integers(0, 4, (5, 12))
    expected = [stats.spearmanr(first.repeat(row), second.repeat(row)).statistic for row in counts]
    np.testing.assert_allclose(rank_correlation(first, second, counts.astype(float)), expected)


def test_values_are_turned_so_that_agreement_is_positive():
    cells = noisy_cells()
    expected = -stats.spearmanr(values(cells, "fid"), values(cells, "precision")).statistic
    found = correlations(cells)["fid", "precision"]
    assert found.value == pytest.approx(expected)
    assert found.value > 0.5
    assert (found.cells, found.models) == (24, 8)


def test_cells_that_lack_one_of_the_two_metrics_are_left_out():
    cells = noisy_cells()
    found = correlations(without(cells, "precision", "m3", "m5"))["fid", "precision"]
    rest = [c for c in cells if c.identity.model not in ("m3", "m5")]
    assert (found.cells, found.models) == (18, 6)
    assert found == correlations(rest)["fid", "precision"]


def test_the_interval_is_that_of_resampling_whole_models():
    cells = noisy_cells()
    fid, precision = (values(cells, name).reshape(8, 3) for name in ("fid", "precision"))

    def of_models(drawn):
        return -stats.spearmanr(fid[drawn].ravel(), precision[drawn].ravel()).statistic

    expected = stats.bootstrap(
        (np.arange(8),),
        of_models,
        vectorized=False,
        n_resamples=4_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = correlations(cells)["fid", "precision"]
    assert found.low == pytest.approx(expected.low, abs=0.05)
    assert found.high == pytest.approx(expected.high, abs=0.05)


def test_neither_a_repeat_nor_another_order_of_cells_changes_anything():
    cells = noisy_cells()
    assert correlations(cells) == correlations(cells[::-1])


def test_few_models_and_constant_metrics_are_left_out():
    assert correlations(noisy_cells(models=3)) == {}
    constant = [replace(c, results=(*c.results, result("recall", 0.5))) for c in noisy_cells()]
    assert list(correlations(constant)) == [("fid", "precision")]


def test_bounds_costs_and_diagnostics_take_no_part():
    named = {name for pair in correlations(full_suite(("digits",))) for name in pair}
    assert {"nll", "fid", "mmd", "wasserstein"} <= named
    assert not named & {"bits_per_dim", "elbo", "bdmc_gap", "parameters", "train_seconds"}


def test_the_page_counts_pairs_and_its_csv_holds_each():
    cells = full_suite(("digits",))
    page = agreement_page(cells, ("digits",), ())
    rows = list(csv.DictReader(io.StringIO(page.files["tables/agreement_digits.csv"].decode())))
    everyone = correlations(cells)
    of_all = {(r["metric"], r["other"]): r for r in rows if r["over"] == "all cells"}
    assert set(of_all) == set(everyone)
    assert float(of_all["fid", "recall"]["low"]) == everyone["fid", "recall"].low
    signs = [pair.sign for pair in everyone.values()]
    (chapter,) = page.chapters
    assert f"{len(signs)} pairs" in chapter.sentences[0]
    assert f"(interval above zero): {signs.count(1)};" in chapter.sentences[0]
    assert len(chapter.listings[0].groups[0][1]) == len(signs)


def test_ceilings_and_floors_are_no_competitors():
    page = agreement_page(full_suite(("digits",)), (), ())
    rows = csv.DictReader(io.StringIO(page.files["tables/agreement_digits.csv"].decode()))
    models = {(r["metric"], r["other"], r["over"]): int(r["models"]) for r in rows}
    assert models["fid", "kid", "all cells"] - models["fid", "kid", "competitors"] == 4


def test_without_anything_to_compare_there_is_no_page():
    assert agreement_page(noisy_cells(models=2), (), ()) is None
    assert agreement_page([], (), ()) is None


def test_points_are_compared_by_a_distance_where_they_have_no_fid():
    page = agreement_page(full_suite(("ring",)), (), ())
    assert [figure.file_name for figure in page.chapters[0].figures] == [
        "agreement_ring.svg",
        "scatter_ring.svg",
    ]
    assert page.chapters[0].figures[1].title == "NLL against W₂"
