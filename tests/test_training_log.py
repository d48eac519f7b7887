import csv

import pytest

from benchmark.training_log import TrainingLog


@pytest.fixture
def new_log(tmp_path):
    logs = []

    def make():
        logs.append(TrainingLog(tmp_path, "32-true"))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


def rows(folder):
    with (folder / "losses.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_step_is_a_row(tmp_path, new_log):
    log = new_log()
    for step in range(1, 8):
        log(step, 7, critic=step / 2, generator=-1.0)
    assert [row["step"] for row in rows(tmp_path)] == [str(n) for n in range(1, 8)]
    assert rows(tmp_path)[2]["critic"] == "1.5"


def test_a_resumed_run_replaces_the_steps_it_repeats(tmp_path, new_log):
    first = new_log()
    for step in range(1, 501):
        first(step, 900, loss=1.0)
    resumed = new_log()
    for step in range(301, 901):
        resumed(step, 900, loss=2.0)
    stored = rows(tmp_path)
    assert [int(row["step"]) for row in stored] == list(range(1, 901))
    assert [row["loss"] for row in stored[299:302]] == ["1.0", "2.0", "2.0"]


def test_seconds_go_on_where_the_interrupted_run_stopped(new_log):
    first = new_log()
    first._started -= 100
    first(1, 500, loss=1.0)
    resumed = new_log()
    resumed(2, 500, loss=1.0)
    assert 100 <= resumed.seconds < 101


def test_a_curve_is_the_mean_over_blocks():
    log = TrainingLog(None, "32-true")
    for step in range(1, 401):
        log(step, 400, loss=float(step))
    curve = log.curve()
    assert len(curve["step"]) == 200
    assert curve["step"][:2] == [2, 4]
    assert curve["loss"][:2] == [1.5, 3.5]


def test_progress_is_told_of_each_step():
    seen = []
    log = TrainingLog(None, "32-true", lambda *message: seen.append(message))
    log(3, 9, loss=0.0)
    assert seen == [("training", 3, 9)]


def test_half_a_row_at_the_end_is_dropped(tmp_path, new_log):
    first = new_log()
    for step in range(1, 11):
        first(step, 20, loss=1.0)
    path = tmp_path / "losses.csv"
    path.write_text(path.read_text() + "11,0.")
    resumed = new_log()
    resumed(11, 20, loss=3.0)
    assert [row["loss"] for row in rows(tmp_path)[-2:]] == ["1.0", "3.0"]
