import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from factories import cell, result

from benchmark.report.class_figure import _figure, class_figure, whole_of
from benchmark.report.class_likelihoods import class_likelihoods, results_of_classes
from benchmark.report.figures import WARNING_COLOUR
from benchmark.report.files import csv_table, markdown_table
from benchmark.report.tables import build_tables


def classes(model, seed, means, learnt=(50, 50, 50), meaning="exact", examples=(40, 40, 40)):
    measured = [mean for mean in means if mean is not None]
    overall = sum(measured) / len(measured)
    found = result("worst_class_gap", overall - min(measured), meaning="estimate")
    details = {
        "log_likelihood": means,
        "standard_errors": [None if mean is None else 0.5 for mean in means],
        "examples": [*examples],
        "overall": overall,
        "meaning": meaning,
        "train_examples": [*learnt],
    }
    return cell("digits", model, seed, [replace(found, details=details)])


def test_the_mean_of_every_class_is_averaged_over_seeds_and_a_bound_is_marked():
    cells = [classes("gmm", 0, [-10.0, -12.0, -90.0]), classes("gmm", 1, [-11.0, -12.0, -94.0])]
    cells += [
        classes("vae", seed, [-20.0, -30.0, -40.0], meaning="lower bound") for seed in (0, 1)
    ]
    found = class_likelihoods(cells, ())
    assert [entry.mean for entry in found.entries["gmm"]] == pytest.approx([-10.5, -12.0, -92.0])
    assert found.entries["gmm"][2].spread == pytest.approx(8**0.5)
    # Two seeds 4 apart have a mean of standard error 2; measuring adds 0.5.
    assert found.entries["gmm"][2].error == pytest.approx((2**2 + 0.5**2) ** 0.5)
    texts = [found.columns[1].text(found.entries[model][1]) for model in ("gmm", "vae")]
    assert texts == ["−12.00 ± 0.00", "≥ −30.00 ± 0.00"]


def test_a_class_that_was_not_learnt_says_so_in_its_head():
    found = class_likelihoods([classes("gmm", 0, [-1.0, -2.0, -3.0], learnt=(9, 0, 9))], ())
    assert [column.head for column in found.columns] == [
        "Class 0 ↑ (nats)",
        "Class 1 ↑ (nats, not in training)",
        "Class 2 ↑ (nats)",
    ]


def test_classes_with_few_examples_or_none_say_so():
    few = classes("vae", 0, [-1.0, -2.0, None], examples=(38, 2, 0))
    (table,) = [t for t in build_tables("digits", [few], ()) if t.name == "class_likelihood"]
    text = " ".join(markdown_table(table).split())
    assert "−2.00 ± 0.50 [a] | — [b]" in text
    assert "- a: from 2 test examples - b: no test example of this class" in text
    assert "class_1: from 2 test examples" in csv_table(table)


def test_a_thousand_classes_are_not_told_one_by_one():
    means, counts = [-1.0 * each for each in range(1_000)], [2] * 1_000
    many = [classes("gmm", 0, means, learnt=counts, examples=counts)]
    assert class_likelihoods(many, ()) is None
    assert class_figure("digits", many, ()) is None


def test_without_the_likelihood_of_classes_there_is_neither_table_nor_figure():
    cells = [cell("digits", "gan", 0, [result("worst_class_gap", reason="samples only")])]
    assert class_likelihoods(cells, ()) is None
    assert class_figure("digits", cells, ()) is None


def missing_sevens():
    learnt = (50, 0, 50)
    cells = [classes("gmm", seed, [-10.0, -80.0 - seed, -12.0], learnt) for seed in (0, 1)]
    cells += [classes("ppca", 0, [-20.0, -95.0, -23.0], learnt)]
    return [*cells, cell("digits", "gan", 0)]


def test_the_figure_tells_which_class_is_missing():
    drawing = class_figure("digits", missing_sevens(), ())
    assert drawing.file_name == "classes_digits.svg"
    ElementTree.fromstring(drawing.content)
    assert drawing.description.endswith("nats: gmm 46.33; ppca 49.00.")
    assert drawing.caption.endswith("Red: class 1, not in the training split.")
    whole = class_figure("digits", [classes("gmm", 0, [-10.0, -11.0, -12.0])], ())
    assert "Red" not in whole.caption


def test_the_figure_has_a_row_of_points_for_each_model_with_the_missing_one_in_red():
    cells = missing_sevens()
    found = results_of_classes(cells, ())
    panels = _figure(found, cells, (), missing=[1], whole=None).get_axes()
    assert [panel.get_ylabel() for panel in panels] == ["gmm", "ppca"]
    points = [container.lines[0] for container in panels[0].containers]
    assert [point.get_xdata()[0] for point in points] == [0, 1, 2]
    assert [point.get_ydata()[0] for point in points] == pytest.approx([-10, -80.5, -12])
    assert [point.get_color() == WARNING_COLOUR for point in points] == [False, True, False]
    (bar,) = panels[0].containers[1].lines[2][0].get_segments()
    # Two seeds 1 apart have a mean of standard error 0.5; measuring adds 0.5.
    assert bar[:, 1] == pytest.approx([-80.5 - 1.96 * 0.5**0.5, -80.5 + 1.96 * 0.5**0.5])


def with_test_images(cells, dataset, first=0):
    """The cells as if of another data set, whose test images count up from `first`."""
    images = np.arange(first, first + 64, dtype=np.uint8).reshape(1, 1, 8, 8)
    return [
        replace(each, real=images, identity=replace(each.identity, dataset=dataset))
        for each in cells
    ]


def test_a_model_trained_on_all_classes_of_the_same_test_images_is_drawn_beside():
    missing = with_test_images(missing_sevens(), "digits_without_1")
    whole = with_test_images([classes("gmm", 3, [-11.0, -13.0, -14.0])], "digits")
    others = with_test_images([classes("gmm", 3, [-1.0, -2.0, -3.0])], "letters", first=1)
    cells = [*others, *missing, *whole]
    found = whole_of(missing, cells, ())
    assert found.dataset == "digits"
    assert [entry.mean for entry in found.entries["gmm"]] == [-11, -13, -14]
    drawing = class_figure("digits_without_1", cells, ())
    assert drawing.caption.endswith(
        "not in the training split. Hollow, beside: the same model trained on digits."
    )
    assert drawing.content != class_figure("digits_without_1", missing, ()).content
    assert whole_of(missing, [*others, *missing], ()) is None
    assert "Hollow" not in class_figure("digits", cells, ()).caption
    panels = _figure(results_of_classes(missing, ()), missing, (), [1], found).get_axes()
    hollow = [container.lines[0] for container in panels[0].containers[3:]]
    assert [point.get_ydata()[0] for point in hollow] == [-11, -13, -14]
    assert {point.get_markerfacecolor() for point in hollow} == {"white"}
    assert len(panels[1].containers) == 3  # ppca was not run on digits
