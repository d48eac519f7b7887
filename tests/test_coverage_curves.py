import io

import numpy as np
import pytest
from factories import cell, full_cell
from PIL import Image
from snapshot_cells import snapshot_cell

from benchmark.report.coverage_curves import course_of, coverage_figure


def seed_of(steps, modes, diverged=None, model="gan", seed=0):
    """A cell with this coverage alone, of as high a quality as it has modes."""
    coverage = {"step": steps, "modes": modes, "high_quality": [number / 10 for number in modes]}
    stopped = {"diverged": {"step": diverged, "steps": 90, "loss": "generator"}}
    training = {"coverage": coverage, **(stopped if diverged is not None else {})}
    return cell("ring", model, seed, training=training)


def test_the_mean_is_over_seeds_at_the_same_step():
    course = course_of([seed_of([0, 10, 20], [0, 3, 8]), seed_of([0, 10, 20], [1, 2, 7])])
    np.testing.assert_array_equal(course.steps, [0, 10, 20])
    np.testing.assert_allclose(course.modes.mean(axis=0), [0.5, 2.5, 7.5])
    np.testing.assert_allclose(course.quality.mean(axis=0), [0.05, 0.25, 0.75])
    assert course.at_the_end == 7.5


def test_a_diverged_seed_counts_as_no_mode_from_there_on():
    course = course_of([seed_of([0, 10, 20], [0, 3, 8]), seed_of([0, 10], [1, 6], diverged=14)])
    np.testing.assert_array_equal(course.steps, [0, 10, 14, 20])
    np.testing.assert_array_equal(course.modes, [[0, 3, 3, 8], [1, 6, 0, 0]])
    assert course.at_the_end == 4
    assert course.failures == "1 of 2 diverged"


def test_a_method_all_of_whose_seeds_diverged_ends_with_no_mode():
    course = course_of([seed_of([0, 10], [1, 6], diverged=14), seed_of([0], [2], diverged=3)])
    assert course.at_the_end == 0
    assert course.modes.max() == 6


def test_a_seed_that_diverged_before_it_was_looked_at_counts_against_its_method():
    early = cell("ring", "gan", 1, training={"diverged": {"step": 1, "steps": 90, "loss": "d"}})
    drawing = coverage_figure("ring", [seed_of([0, 10], [0, 8]), early], ("gan",))
    assert drawing.description.endswith("gan 4.0 (1 of 2 diverged).")


def test_a_seed_that_was_looked_at_less_often_keeps_its_last_value():
    course = course_of([seed_of([0, 20], [2, 8]), seed_of([0, 10, 20], [0, 5, 6])])
    np.testing.assert_array_equal(course.modes[0], [2, 2, 8])


def test_the_figure_says_what_each_method_ends_with_and_how_many_modes_there_are():
    cells = [snapshot_cell("grid", "gan", seed, kept=3 + seed) for seed in range(3)]
    cells += [snapshot_cell("grid", "vae", seed) for seed in range(3)]
    drawing = coverage_figure("grid", cells, ("vae", "gan"))
    assert drawing.file_name == "coverage_grid.png"
    assert drawing.description.endswith("at the end: vae 25.0; gan 4.0.")
    assert "stands at 25 modes" in drawing.caption
    assert drawing.content == coverage_figure("grid", cells[::-1], ("vae", "gan")).content


def test_without_coverage_there_is_no_figure():
    diverged = cell(
        "digits", "gan", 0, training={"diverged": {"step": 1, "steps": 9, "loss": "d"}}
    )
    assert coverage_figure("digits", [full_cell("digits", "vae", 0), diverged], ()) is None


def test_methods_that_capture_nothing_are_drawn():
    nothing = [seed_of([0, 10], [0, 0], seed=seed) for seed in range(2)]
    assert coverage_figure("ring", nothing, ()).description.endswith("gan 0.0.")


@pytest.mark.parametrize("diverged", [None, 14])
@pytest.mark.parametrize("methods", [1, 2, 3, 7])
def test_nothing_is_cut_however_few_or_many_the_methods(methods, diverged):
    cells = [seed_of([0, 10], [0, 8], diverged, model=f"m{index}") for index in range(methods)]
    drawing = coverage_figure("ring", cells, ())
    pixels = np.asarray(Image.open(io.BytesIO(drawing.content)).convert("L"))
    assert pixels.min() < 100
    for edge in (pixels[:1], pixels[-1:], pixels[:, :8], pixels[:, -8:]):  # wider than a gap in it
        assert edge.min() == 255
