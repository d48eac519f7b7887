import io
from dataclasses import replace

import numpy as np
import pytest
from factories import cell, full_cell, result
from PIL import Image
from snapshot_cells import snapshot_cell

from benchmark.report import write_report
from benchmark.report.animation import SIDE
from benchmark.report.figures import COLOURS, FINE_DOTS_PER_INCH, samples_figure
from benchmark.report.snapshots import TARGET_COLOUR, films_of, target_of, window_of
from benchmark.report.strips import (
    GAP,
    LINE,
    MOST_FRAMES,
    MOST_ROWS,
    NAME,
    PANEL,
    chosen_frames,
    rows_of,
    strip_figures,
)
from benchmark.report.tables import build_tables

SPOT = np.array([0.9, -0.4])  # in the window of the ring, right of the middle and below it


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def colour(text):
    return np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)])


def is_near(image, text):
    """Where an image [h, w, 3] has a colour, but for smoothed edges."""
    return np.abs(image - colour(text)).sum(axis=-1) < 90


def panel_of(image, row, column):
    """The pixels inside a panel's frame, in a figure whose first row alone names its steps."""
    left = NAME + column * (PANEL + GAP)
    top = LINE + row * (PANEL + GAP)
    inside = np.array([top, top + PANEL, left, left + PANEL]) * FINE_DOTS_PER_INCH
    up, down, start, stop = inside.round().astype(int)
    return image[up:down, start:stop]


def at_the_spot(model="gan", dataset="ring", frames=3):
    """A cell whose frames hold one point, drawn many times."""
    stored = snapshot_cell(dataset, model)
    drawn = np.tile(SPOT, (frames, 50, 1)).astype(np.float32)
    steps = [100 * frame for frame in range(frames)]
    return replace(stored, frames=drawn, training={**stored.training, "frame_steps": steps})


def middle_of(places):
    """(across, down) as shares of a panel's side, the frame left out."""
    down, across = (np.argwhere(places[4:-4, 4:-4]).mean(axis=0) + 4.5) / np.array(places.shape)
    return across, down


# Frames and their window


def test_the_window_is_a_square_around_real_data_with_a_margin():
    real = np.array([[0.0, 10.0], [4.0, 11.0], [2.0, 12.0]])
    window = window_of(real)
    assert window.side == pytest.approx(4 * 1.4)
    np.testing.assert_allclose(window.scaled(np.array([[2.0, 11.0]])), [[0.5, 0.5]])
    np.testing.assert_allclose(window.scaled(real[:1]), [[0.2 / 1.4, 0.5 - 1 / 5.6]])


def test_points_outside_the_window_are_counted_and_so_are_those_that_are_no_numbers():
    window = window_of(np.array([[0.0, 0.0], [1.0, 1.0]]))
    points = np.array([[0.5, 0.5], [9.0, 0.5], [0.5, -9.0], [np.nan, 0.5], [np.inf, 0.5]])
    assert window.outside(points) == pytest.approx(0.8)
    assert len(window.scaled(points)) == 1


def test_the_lowest_seed_with_frames_is_shown():
    without = replace(snapshot_cell("ring", "gan", 1), training={})
    first = replace(at_the_spot(), identity=replace(at_the_spot().identity, seed=2))
    film, other = films_of([first, without, snapshot_cell("ring", "vae")], ("gan", "vae"))
    assert (film.model, film.seed, film.steps) == ("gan", 2, (0, 100, 200))
    assert other.ending is None


# The strip


def test_a_point_lies_where_it_was_drawn_in_every_panel_of_every_method():
    cells = [at_the_spot("gan"), at_the_spot("vae")]
    (drawing,) = strip_figures("ring", cells, ("gan", "vae"))
    image = pixels(drawing.content)
    expected = window_of(target_of(cells)).scaled(SPOT[None])[0]
    for row in range(2):
        for column in (1, 2, 3):
            found = middle_of(is_near(panel_of(image, row, column), COLOURS["Models"]))
            assert found == pytest.approx((expected[0], 1 - expected[1]), abs=0.02)


def test_the_first_panel_holds_real_data_and_the_others_have_it_behind_them():
    image = pixels(strip_figures("ring", [at_the_spot()], ("gan",))[0].content)
    first, second = panel_of(image, 0, 0), panel_of(image, 0, 1)
    assert is_near(first, "#222222").sum() > 50
    assert not is_near(first, COLOURS["Models"])[:, :-4].any()  # the next panel's frame is blue
    assert is_near(second, TARGET_COLOUR).sum() > 50
    assert middle_of(is_near(second, TARGET_COLOUR)) == pytest.approx((0.5, 0.5), abs=0.05)


def test_the_first_and_the_last_frame_are_always_shown():
    assert chosen_frames(1) == [0]
    assert chosen_frames(4) == [0, 1, 2, 3]
    many = chosen_frames(10)
    assert (many[0], many[-1], len(many)) == (0, 9, MOST_FRAMES)
    assert max(np.diff(many)) <= 2


def test_steps_are_written_where_they_differ_from_those_above():
    same = [snapshot_cell("ring", model) for model in ("gan", "vae")]
    short = snapshot_cell("ring", "wgan_gp", diverged=600)
    last = snapshot_cell("ring", "vae_gan")
    films = films_of([*same, short, last], ("gan", "vae", "wgan_gp", "vae_gan"))
    rows = list(rows_of(films, chosen_frames(10)))
    assert [titled for _, _, titled in rows] == [True, False, True, True]
    tops = [top for _, top, _ in rows]
    assert np.diff(tops) == pytest.approx(PANEL + GAP + np.array([0, LINE, LINE]))


def test_many_methods_are_split_evenly_and_each_stands_in_one_figure():
    stored = at_the_spot(frames=1)
    names = [f"m{index}" for index in range(MOST_ROWS + 3)]
    cells = [replace(stored, identity=replace(stored.identity, model=name)) for name in names]
    first, second = strip_figures("ring", cells, names)
    assert (first.file_name, second.file_name) == ("strip_ring_1.png", "strip_ring_2.png")
    assert [each.label for part in (first, second) for each in part.attached] == names
    assert len(first.attached) - len(second.attached) in (0, 1)
    assert first.title == "Samples during training, part 1"


def test_a_strip_of_a_whole_figure_stays_below_400_kilobytes():
    names = [f"m{index}" for index in range(MOST_ROWS)]
    cells = [snapshot_cell("grid", name) for name in names]
    (drawing,) = strip_figures("grid", cells, names)
    assert len(drawing.content) < 400_000
    assert max(len(each.content) for each in drawing.attached) < 300_000


def test_there_is_no_strip_of_images_or_without_frames():
    assert strip_figures("ring", [full_cell("ring", "vae", 0)], ()) == []
    images = replace(full_cell("digits", "vae", 0), frames=np.zeros((2, 9, 2), np.float32))
    assert strip_figures("digits", [images], ()) == []


# The animation


def test_an_animation_holds_every_frame_and_rests_on_the_last():
    (drawing,) = strip_figures("ring", [at_the_spot(frames=4)], ())
    (attached,) = drawing.attached
    assert attached.file_name == "animation_ring_gan.gif"
    with Image.open(io.BytesIO(attached.content)) as film:
        assert film.n_frames == 4
        assert film.info["loop"] == 0
        durations = []
        for place in range(film.n_frames):
            film.seek(place)
            durations.append(film.info["duration"])
            image = np.asarray(film.convert("RGB")).astype(int)[-SIDE:]
            window = window_of(target_of([at_the_spot()]))
            across, up = window.scaled(SPOT[None])[0]
            found = middle_of(is_near(image, COLOURS["Models"]))
            assert found == pytest.approx((across, 1 - up), abs=0.02)
            assert is_near(image, TARGET_COLOUR).sum() > 100
    assert durations[-1] > 2 * durations[0]


def test_an_animation_of_a_diverged_method_says_so_at_its_end():
    whole = at_the_spot()
    stopped = {**whole.training, "diverged": {"step": 250, "steps": 3_000, "loss": "generator"}}
    frames = [
        pixels_of_frames(strip_figures("ring", [each], ())[0].attached[0].content)
        for each in (whole, replace(whole, training=stopped))
    ]
    heads = ([image[:-SIDE] for image in images] for images in frames)
    moved = [np.abs(one - other).max() > 90 for one, other in zip(*heads, strict=True)]
    assert moved == [False, False, True]


def pixels_of_frames(content):
    with Image.open(io.BytesIO(content)) as film:
        for place in range(film.n_frames):
            film.seek(place)
            yield np.asarray(film.convert("RGB")).astype(int)


# In the report


def test_the_report_links_to_its_animations_and_removes_those_of_methods_that_are_gone(tmp_path):
    arguments = {"title": "Suite", "models": ("gan", "vae"), "datasets": ("ring",)}
    gan, vae = (replace(at_the_spot(model), results=()) for model in ("gan", "vae"))
    write_report(tmp_path, cells=[gan, vae], **arguments)
    page = (tmp_path / "index.html").read_text()
    for model in ("gan", "vae"):
        assert f'<a href="figures/animation_ring_{model}.gif">{model}</a>' in page
        assert (tmp_path / f"figures/animation_ring_{model}.gif").exists()
    assert "image/gif" not in page
    write_report(tmp_path, cells=[gan], **arguments)
    assert not (tmp_path / "figures/animation_ring_vae.gif").exists()
    assert (tmp_path / "figures/strip_ring.png").exists()


def test_equal_cells_give_equal_bytes():
    first, second = (strip_figures("ring", [snapshot_cell("ring", "gan")], ()) for _ in range(2))
    assert first == second


def test_the_table_of_modes_says_which_seeds_diverged_and_when():
    none = replace(result("modes", 0.0), details={"remark": "training diverged"})
    cells = [
        replace(snapshot_cell("ring", "gan", seed, diverged=step), results=(answer,))
        for seed, step, answer in (
            (0, 1_310, none),
            (1, None, result("modes", 8.0)),
            (2, 90, none),
        )
    ]
    tables = build_tables("ring", cells, ("gan",))
    (modes,) = (table for table in tables if table.name == "mode_coverage")
    assert modes.remarks[0].startswith(
        "Training diverged: gan in 2 of 3 seeds (steps 90 and 1,310). Such a seed counts as 0"
    )
    assert len([remark for remark in modes.remarks if "diverged" in remark]) == 1
    others = [remark for table in tables if table is not modes for remark in table.remarks]
    assert not [remark for remark in others if "diverged" in remark]


def test_a_diverged_cell_without_samples_has_a_panel_that_is_not_like_a_failed_one():
    whole = full_cell("ring", "vae", 0)
    diverged = cell("ring", "gan", 0, training={"diverged": {"step": 7, "steps": 9, "loss": "g"}})
    broken = replace(diverged, training={}, failure="broke")
    said = [samples_figure("ring", [whole, each], ()).content for each in (diverged, broken)]
    assert said[0] != said[1]
