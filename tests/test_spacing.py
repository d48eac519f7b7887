"""Panels at given places, measured in inches on the figure."""

import pytest

from benchmark.report.spacing import Margins, spaced


def test_panels_have_the_asked_size_and_space_and_fill_what_the_margins_leave():
    figure, grid = spaced((2, 3), (2.0, 1.5), (0.4, 0.3), Margins(0.7, 0.1, 0.25, 0.5), 100)
    panels = grid.subplots()
    width, height = figure.get_size_inches()
    left, bottom, right, top = (
        [[getattr(panel.get_position(), side) for panel in row] for row in panels]
        for side in ("x0", "y0", "x1", "y1")
    )
    assert width * left[0][0] == pytest.approx(0.7)
    assert width * (1 - right[0][2]) == pytest.approx(0.1)
    assert height * (1 - top[0][0]) == pytest.approx(0.25)
    assert height * bottom[1][0] == pytest.approx(0.5)
    assert width * (right[0][0] - left[0][0]) == pytest.approx(2.0 - 0.4)
    assert height * (top[0][0] - bottom[0][0]) == pytest.approx(1.5 - 0.3)
    assert width * (left[0][1] - left[0][0]) == pytest.approx(2.0)
    assert height * (top[0][0] - top[1][0]) == pytest.approx(1.5)


def test_one_panel_needs_no_space_between():
    figure, grid = spaced((1, 1), (2.0, 1.5), (0.4, 0.3), Margins(0.5, 0.5, 0.2, 0.2), 100)
    place = figure.add_subplot(grid[0, 0]).get_position()
    assert tuple(figure.get_size_inches()) == pytest.approx((0.5 + 1.6 + 0.5, 0.2 + 1.2 + 0.2))
    assert place.width * 2.6 == pytest.approx(1.6)
    assert place.height * 1.6 == pytest.approx(1.2)
