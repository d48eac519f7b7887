import numpy as np
import pytest
import torch
from cli_tools import Program

from benchmark import scoring
from benchmark.data import load_dataset
from benchmark.metrics import METRICS
from benchmark.scoring import remarks_on

QUICK = ("fid", "spectral", "mmd", "copies", "modes", "high_quality")


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """`score` with the metrics that take no time."""
    quick = tuple(metric for metric in METRICS if metric.name in QUICK)
    monkeypatch.setattr(scoring, "MEASURED", quick)
    return Program(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def saved(program, name, images):
    path = program.folder / name
    np.savez(path, images=images)
    return path


def score(program, *arguments):
    return program("score", *arguments, "--data", "digits")


def test_an_npz_is_measured_beside_floors_and_ceilings(program, digits):
    status, out, err = score(program, saved(program, "mine.npz", digits.validation[:200].numpy()))
    assert status == 0, err
    for row in ("yours", "data", "memoriser", "marginals", "collapsed", "noise"):
        assert row in out
    assert "200 samples of each row against 200 test examples" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_every_metric_of_samples_has_a_column_or_a_reason(tmp_path, monkeypatch, capsys, digits):
    monkeypatch.setattr(scoring, "_references", lambda data, count: {})
    program = Program(tmp_path, monkeypatch, capsys)
    _, out, err = score(program, saved(program, "mine.npz", digits.validation[:120].numpy()))
    assert not err
    for metric in scoring.MEASURED:
        assert metric.label in out
    assert "failed" not in out
    assert "not given" not in out


def test_a_folder_of_png_files_is_measured_alike(program, digits):
    from PIL import Image

    folder = program.folder / "mine"
    folder.mkdir()
    for index, image in enumerate(digits.validation[:60].numpy()):
        Image.fromarray(image[0]).save(folder / f"{index:03}.png")
    from_folder = score(program, folder)
    from_npz = score(program, saved(program, "mine.npz", digits.validation[:60].numpy()))
    assert from_folder[0] == 0, from_folder[2]
    assert from_folder[1] == from_npz[1]


def test_points_are_measured(program):
    np.savez(program.folder / "points.npz", points=load_dataset("ring").validation[:300].numpy())
    status, out, _ = program("score", program.folder / "points.npz", "--data", "ring")
    assert status == 0
    assert "High quality" in out


def test_two_sets_are_compared_at_the_smaller_count(program, digits):
    real = digits.validation.numpy()
    noise = np.random.default_rng(0).integers(0, 17, (90, 1, 8, 8))
    yours, other = saved(program, "a.npz", real[:120]), saved(program, "b.npz", noise)
    status, out, err = score(program, yours, "--against", other)
    assert status == 0, err
    said = " ".join(out.split())
    assert "holds 120 samples, of the other set only 90: the first 90 are measured" in said
    comparison = out[out.index("yours − other") :]
    assert "digits: seeds: 1 and 1; n: 90" in comparison
    verdicts = {
        line.split()[0]: line.split()[-1] for line in comparison.splitlines() if "↓" in line
    }
    assert {verdicts[name] for name in ("FID", "Spectral", "MMD²")} == {"yours"}
    assert "Copies" not in verdicts  # without a better side
    assert "NLL, nats" not in comparison
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_set_against_itself_is_undecided(program, digits):
    path = saved(program, "a.npz", digits.validation[:80].numpy())
    _, out, _ = score(program, path, "--against", path)
    comparison = out[out.index("yours − other") :]
    rows = [line for line in comparison.splitlines() if line.endswith("undecided")]
    assert len(rows) == 3
    assert all("1.000" in row for row in rows)


def test_more_samples_than_held_out_examples_are_cut_aloud(program, digits, monkeypatch):
    monkeypatch.setattr(scoring, "_references", lambda data, count: {})
    _, out, _ = score(program, saved(program, "many.npz", digits.train[:450].numpy()))
    said = " ".join(out.split())
    assert "holds 450 samples, and there are 400 held-out examples: the first 400" in said
    assert "400 of 400 samples are training examples" in said


# Samples that can be measured, but say something else than their reader may think


def test_samples_with_nothing_odd_have_no_remark(digits):
    assert remarks_on(digits.validation[:100], digits) == []


def test_constant_images_are_called_collapsed(digits):
    (remark,) = remarks_on(digits.validation[:1].expand(70, -1, -1, -1), digits)
    assert remark == "all 70 samples are one and the same: this is a collapsed model"


def test_repeated_and_memorised_samples_are_counted(digits):
    samples = torch.cat([digits.validation[:50], digits.validation[:3], digits.train[:7]])
    repeats, memorised = remarks_on(samples, digits)
    assert "3 of 60 samples repeat others" in repeats
    assert "7 of 60 samples are training examples" in memorised


def test_test_examples_that_were_trained_on_are_counted(program, digits, monkeypatch):
    leaky = torch.cat([digits.train[:4], digits.test[4:]])
    monkeypatch.setattr(scoring, "_references", lambda data, count: {})
    data = scoring.replace(digits, test=leaky)
    monkeypatch.setattr(scoring, "load_dataset", lambda name, root: data)
    _, out, _ = score(program, saved(program, "mine.npz", digits.validation[:60].numpy()))
    assert "4 of 60 test examples are training examples too" in " ".join(out.split())


def test_three_samples_get_a_reason_from_each_metric_that_needs_more(program, digits, monkeypatch):
    monkeypatch.setattr(scoring, "_references", lambda data, count: {})
    status, out, _ = score(program, saved(program, "few.npz", digits.validation[:3].numpy()))
    assert status == 0
    assert "needs at least 4 examples" in " ".join(out.split())


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.zeros((100, 9, 9), np.uint8), "8"),
        (np.full((100, 8, 8), 3.5), "whole"),
        (np.full((100, 8, 8), 17), "17"),
        (np.full((100, 8, 8), np.nan), "NaN"),
        (np.zeros((100, 8, 8, 3), np.uint8), "holds RGB images; this data set is grey"),
        (np.zeros((1, 8, 8), np.uint8), "holds 1 sample: nothing can be measured below 2"),
    ],
    ids=["wrong shape", "fractions", "out of range", "NaN", "colours", "too few"],
)
def test_samples_that_are_none_of_the_data_set_are_refused(program, images, complaint):
    good = saved(program, "good.npz", np.zeros((100, 8, 8), np.uint8))
    bad = saved(program, "bad.npz", images)
    for arguments in ([bad], [good, "--against", bad]):
        status, out, err = score(program, *arguments)
        assert (status, out) == (2, "")
        assert "bad.npz" in err
        assert complaint in err
        assert err.count("\n") == 1
