import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from factories import cell, damaged_suite, full_suite, result

from benchmark.metrics import METRICS
from benchmark.report.sensitivity import kinds_of, responses
from benchmark.report.sensitivity_page import sensitivity_page


def response(cells, metric="fid"):
    (found,) = [each for each in responses(cells) if each.metric.name == metric]
    return found


def with_error(cells, error):
    """The same cells, all values measured with this standard error."""
    bare = {"standard_error": error, "low": None, "high": None}
    return [replace(c, results=tuple(replace(r, **bare) for r in c.results)) for c in cells]


def test_kinds_and_grades_are_read_from_the_names_of_rows():
    names = ["intact", "blur_2", "blur_1", "dropped_classes_1", "dropped_classes_3", "vae_gan"]
    assert kinds_of(names) == {"blur": (1, 2), "dropped_classes": (1, 3)}


def test_without_an_intact_row_or_several_grades_nothing_is_damage():
    assert kinds_of(["blur_1", "blur_2", "gan"]) == {}
    assert kinds_of(["intact", "blur_1"]) == {}


def test_a_response_is_counted_in_standard_deviations_of_the_intact_row():
    found = response(damaged_suite({"blur": (1.0, 2.0, 5.0, 7.5)}))
    assert found.grades == (1, 2, 3, 4)
    assert found.units == pytest.approx((1.0, 2.0, 5.0, 7.5))


def test_an_error_of_measuring_above_the_deviation_takes_its_place():
    cells = with_error(damaged_suite({"blur": (1.0, 2.0)}), 2.0)
    assert response(cells).units == pytest.approx((0.5, 1.0))


def test_falling_is_worse_where_higher_is_better():
    cells = damaged_suite({"blur": (-4.0, -8.0)}, metrics=("fid", "recall"))
    assert response(cells, "recall").units == pytest.approx((4.0, 8.0))
    assert response(cells, "recall").verdict == "monotone"
    assert response(cells, "fid").verdict == "monotone, rewarded"


@pytest.mark.parametrize(
    ("moved", "verdict"),
    [
        ((1.0, 2.0, 4.0, 9.0), "monotone"),
        ((4.0, 9.0, 9.0, 8.5), "monotone"),  # saturates; half a unit back is noise
        ((0.0, 90.0, 100.0, 96.0), "monotone"),  # 4 % of the way back
        ((0.0, 90.0, 100.0, 90.0), "uneven"),
        ((2.0, 0.5, 5.0, 9.0), "uneven"),
        ((5.0, 4.2, 3.4, 3.1), "uneven"),  # each step is noise, all together are not
        ((1.0, 3.4, 3.2, 2.6), "uneven"),  # the strongest is not noticed
        ((1.0, 8.0, 2.0, 0.0), "uneven"),
        ((-4.0, 1.0, 5.0, 9.0), "uneven"),
        ((0.5, -1.0, 2.9, 2.9), "blind"),
        ((-1.0, -3.0, -6.0, -9.0), "monotone, rewarded"),
        ((-9.0, 1.0, 2.0, 4.0), "uneven, rewarded"),
    ],
)
def test_verdicts(moved, verdict):
    assert response(damaged_suite({"blur": moved})).verdict == verdict


def test_a_metric_without_a_better_way_rewards_nothing():
    name = next(m.name for m in METRICS if m.table == "memorisation" and m.better is None)
    cells = damaged_suite({"memorised": (-2.0, -4.0, -8.0)}, metrics=(name,))
    assert response(cells, name).verdict == "monotone"
    assert response(cells, name).units == pytest.approx((-2.0, -4.0, -8.0))


def test_a_share_that_is_zero_when_intact_is_measured_by_the_steadiest_other_row():
    shares = {"intact": [0, 0, 0], "blur_1": [0.1, 0.2, 0.3], "blur_2": [0.2, 0.6, 1.0]}
    cells = [
        cell("digits", name, seed, [result("fid", float(value))])
        for name, values in shares.items()
        for seed, value in enumerate(values)
    ]
    assert response(cells).units == pytest.approx((2.0, 6.0))


def test_what_has_no_value_no_error_or_is_a_p_value_is_left_out():
    cells = damaged_suite({"blur": (1.0, 2.0), "noise": (1.0, 2.0)}, metrics=("fid", "mmd_p"))
    broken = [
        replace(c, results=(), failure="broke") if c.identity.model == "noise_2" else c
        for c in cells
    ]
    assert [(each.metric.name, each.kind) for each in responses(broken)] == [("fid", "blur")]
    alone = [c for c in cells if c.identity.seed == 0]
    assert responses(with_error(alone, None)) == []


def test_rows_that_are_not_damaged_are_found_blind():
    rng = np.random.default_rng(2)
    names = ["intact", *(f"kind{k}_{g}" for k in range(150) for g in range(1, 5))]
    cells = [
        cell("digits", name, seed, [result("fid", 10 + rng.standard_normal(), standard_error=1.0)])
        for name in names
        for seed in range(3)
    ]
    verdicts = [each.verdict for each in responses(cells)]
    assert len(verdicts) == 150
    assert verdicts.count("blind") >= 148


def test_the_page_says_every_verdict_and_its_csv_every_response():
    cells = damaged_suite(
        {"blur": (2.0, 6.0, 10.0, 20.0), "collapse_within_class": (0.0, 1.0, -1.0, 2.0)},
        metrics=("fid", "recall"),
    )
    page = sensitivity_page(cells, (), ())
    (chapter,) = page.chapters
    assert chapter.sentences == [
        "Blur. monotone: FID; monotone, rewarded: Recall.",
        "Collapse within class. blind: FID and Recall.",
    ]
    ((title, rows),) = chapter.listings[0].groups
    assert title == "Sample quality"
    assert [[text for text, _ in row] for row in rows] == [
        ["FID", "monotone (20)", "blind"],
        ["Recall", "monotone, rewarded (−20)", "blind"],
    ]
    lines = csv.DictReader(io.StringIO(page.files["tables/sensitivity_digits.csv"].decode()))
    numbers = [float(r["response"]) for r in lines if (r["metric"], r["kind"]) == ("fid", "blur")]
    assert numbers == pytest.approx([2, 6, 10, 20])


def test_an_ordinary_suite_has_no_such_page():
    assert sensitivity_page(full_suite(("ring",), ("vae", "gan"), (0,)), (), ()) is None
