from dataclasses import replace

import numpy as np
import pytest
from factories import MODELS, full_cell, full_suite
from matplotlib.figure import Figure

from benchmark.report import write_report
from benchmark.report.completions import _mark_halves, completions_figure, rows_of
from benchmark.report.image_rows import canvas_of_rows


def completed(dataset, model, seed, times=3):
    """A cell whose completions are the test images with the lower half turned to black."""
    cell = full_cell(dataset, model, seed)
    drawn = np.repeat(cell.real[None, :8], times, axis=0)
    drawn[:, :, :, cell.shape[1] // 2 :] = 0
    return replace(cell, completions=drawn)


def test_originals_stand_above_their_completions():
    cell = completed("colours", "vae", 0)
    rows = rows_of(cell)
    assert rows.shape == (4, 8, 3, 32, 32)
    np.testing.assert_array_equal(rows[0], cell.real[:8])
    np.testing.assert_array_equal(rows[1:], cell.completions)


@pytest.mark.parametrize("dataset", ["digits", "colours"])
def test_completions_are_drawn_for_the_models_that_have_them(dataset):
    cells = [completed(dataset, "vae", 2), completed(dataset, "vae", 1)]
    cells += [full_cell(dataset, "gan", 1), full_cell(dataset, "vae", 0)]
    drawing = completions_figure(dataset, cells, MODELS)
    assert drawing.file_name == f"completions_{dataset}.png"
    assert drawing.content.startswith(b"\x89PNG")
    assert drawing.description.endswith("by each of: vae.")
    assert "Seed 1." in drawing.caption  # the lowest that has any
    alone = completions_figure(dataset, cells[1:2], MODELS)
    assert alone.content == drawing.content
    other = replace(cells[1], completions=cells[1].completions // 2)
    assert completions_figure(dataset, [other], MODELS).content != drawing.content


def test_without_completions_there_is_no_figure():
    assert completions_figure("digits", [full_cell("digits", "vae", 0)], MODELS) is None
    assert completions_figure("ring", [full_cell("ring", "vae", 0)], MODELS) is None


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 7, 26)])
def test_the_line_lies_between_what_was_given_and_what_was_drawn(shape):
    given = np.ones((3, 4, *shape))
    given[1:, :, :, shape[1] // 2 :] = 0
    canvas = canvas_of_rows(given, levels=2)
    panel = Figure().subplots()
    _mark_halves(panel, 3, *shape[1:])
    edges = [line.get_ydata()[0] for line in panel.get_lines()]
    assert len(edges) == 2
    for edge in edges:
        assert canvas[int(np.floor(edge)), 0].min() == 1
        assert canvas[int(np.ceil(edge)), 0].max() == 0


def test_a_report_has_completions_beside_samples_and_drops_them_when_they_go(tmp_path):
    cells = [completed("digits", "vae", 0)]
    arguments = {"title": "Suite", "models": MODELS}
    write_report(tmp_path, cells=cells, **arguments)
    path = tmp_path / "figures" / "completions_digits.png"
    assert path.exists()
    assert "Completions of test images" in (tmp_path / "index.html").read_text()
    write_report(tmp_path, cells=full_suite(("digits",), ("vae",), (0,)), **arguments)
    assert not path.exists()
