"""What the speed commands leave, and that what they time gives the right answers."""

import json

import pytest
import torch
from rich.console import Console

from benchmark.errors import UserError
from benchmark.metrics.frechet import frechet_distance
from benchmark.speed import ais, contests, metrics, sampling, training
from benchmark.speed.inputs import feature_sets, scaled_copies
from benchmark.speed.record import SpeedRecord, as_markdown, publish

MACHINE = {"device": "a processor", "threads": 2, "commit": None, "dirty": False, "packages": {}}
RECORD = SpeedRecord(
    name="thing",
    title="A thing beside another",
    columns=("", "ours, s", "ratio"),
    rows=[("one", "0.5", "2.00"), ("two", "0.1", "")],
    notes=["Measured twice."],
    ratios={"one": 2.0, "two": None},
    machine=MACHINE,
)


def test_a_record_is_printed_with_its_ratios_as_the_last_line(capsys):
    publish(RECORD, Console(width=80), None)
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1]) == {"one": 2.0, "two": None}
    assert any("one" in line and "0.5" in line and "2.00" in line for line in lines)
    assert any("Measured twice." in line for line in lines)


def test_a_record_is_left_as_json_and_as_a_page(tmp_path, capsys):
    publish(RECORD, Console(), tmp_path / "speed")
    kept = json.loads((tmp_path / "speed" / "thing.json").read_text())
    assert kept["rows"] == [["one", "0.5", "2.00"], ["two", "0.1", ""]]
    assert kept["machine"] == MACHINE
    assert (tmp_path / "speed" / "thing.md").read_text() == as_markdown(RECORD)


def test_the_page_holds_a_table_the_notes_and_the_machine():
    lines = as_markdown(RECORD).splitlines()
    assert lines[0] == "# A thing beside another"
    assert lines[2:6] == [
        "|  | ours, s | ratio |",
        "| --- | ---: | ---: |",
        "| one | 0.5 | 2.00 |",
        "| two | 0.1 |  |",
    ]
    assert "Measured twice." in lines
    assert "on a processor, 2 threads; commit unknown" in lines[-1]


@pytest.fixture
def tiny(monkeypatch):
    for name, value in {
        "EXAMPLES": 90,
        "FEW_EXAMPLES": 20,
        "WIDTH": 30,
        "NARROW": 4,
        "DIRECTIONS": 7,
        "SUBSETS": 3,
        "SUBSET_SIZE": 45,
        "IMAGES": 1,
    }.items():
        monkeypatch.setattr(contests, name, value)
    monkeypatch.setattr(metrics, "ROUNDS", 2)


def test_every_comparison_is_measured_and_its_answers_agree(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(contests.CONTESTS, "features")
    metrics.speed_metrics(Console(width=80), tmp_path)
    printed = capsys.readouterr().out
    ratios = json.loads(printed.splitlines()[-1])
    assert "torch-fidelity" in printed
    kept = json.loads((tmp_path / "metrics.json").read_text())
    apart = {row[0]: row[-1] for row in kept["rows"]}
    assert list(ratios) == list(apart) == list(contests.CONTESTS)
    assert all(ratio > 0 for ratio in ratios.values())
    assert apart.pop("prdc") == "equal"
    assert float(apart.pop("frechet_few_samples").split("/")[0]) < 1e-12
    ours, theirs = map(float, apart.pop("sinkhorn").split("/"))
    assert theirs <= ours < 1e-6
    assert all(float(difference) < 1e-5 for difference in apart.values()), apart


@pytest.mark.slow
def test_inception_features_are_timed_and_agree(tiny, tmp_path):
    found = metrics._held(contests.CONTESTS["features"](tmp_path), lambda: None)
    assert found.ratio > 0
    assert 0 < float(found.agreement) < 1e-5


def test_some_comparisons_alone_leave_no_file(tiny, tmp_path, capsys):
    metrics.speed_metrics(Console(), tmp_path, ["kid"])
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])) == ["kid"]
    assert not list(tmp_path.iterdir())


def test_an_unknown_comparison_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(UserError, match="did you mean 'frechet'"):
        metrics.speed_metrics(Console(), tmp_path, ["kid", "frechett"])


def test_a_library_that_is_not_there_is_named_before_anything_is_measured(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "prdc", None)
    monkeypatch.setitem(contests.CONTESTS, "kid", lambda folder: pytest.fail("kid was measured"))
    with pytest.raises(UserError, match=r"prdc is compared with prdc, which is not installed"):
        metrics.speed_metrics(Console(), tmp_path, ["kid", "prdc"])


def test_scaled_copies_have_the_distance_that_is_said():
    real, generated, distance = scaled_copies(400, 3)
    assert frechet_distance(real=real, generated=generated) == pytest.approx(distance, rel=1e-10)


def test_feature_sets_are_the_same_each_time_and_apart():
    (real, generated), again = feature_sets(300, 5), feature_sets(300, 5)
    assert torch.equal(real, again[0])
    assert torch.equal(generated, again[1])
    assert (real.mean(dim=0) - generated.mean(dim=0)).norm() > 0.05


def test_annealing_is_timed_and_its_table_is_left(monkeypatch, tmp_path, capsys):
    from benchmark.speed import decoder

    monkeypatch.setattr(decoder, "STEPS", 2)
    for name, value in {
        "EXAMPLES": 3,
        "CHAINS": 2,
        "PLAIN_LEAPFROG": 1,
        "PLAIN_TEMPERATURES": 2,
        "EQUAL_TEMPERATURES": 4,
        "STRETCHES": 2,
        "ROUNDS": 1,
        "LEAPFROG": 1,
        "LENGTHS": (2,),
        "SEEDS": 1,
    }.items():
        monkeypatch.setattr(ais, name, value)
    monkeypatch.setattr(ais, "has_bfloat16_units", lambda device: False)
    ais.speed_ais(Console(width=100), torch.device("cpu"), tmp_path)
    ratios = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert ratios["equal_temperatures"] > 0
    assert ratios["equal_bounds_bf16"] is None
    rows = json.loads((tmp_path / "ais.json").read_text())["rows"]
    assert rows[0][:2] == ["plain", "4"]


@pytest.fixture
def tiny_images(monkeypatch):
    shapes = {"pixelcnn_pp_28": (1, 4, 4), "pixelcnn_pp_32": (3, 4, 8)}
    cases = {name: sampling.Case("zoo.pixelcnn_pp:PixelCNNpp", s) for name, s in shapes.items()}
    monkeypatch.setattr(sampling, "CASES", cases)
    monkeypatch.setattr(sampling, "IMAGES", {"cpu": 2})
    monkeypatch.setattr(sampling, "NAIVE_SECONDS", 0.0)


def test_sampling_is_timed_and_draws_the_same_pixels(tiny_images, tmp_path, capsys):
    sampling.speed_sampling(Console(width=120), torch.device("cpu"), tmp_path)
    ratios = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(ratios) == ["pixelcnn_pp_28", "pixelcnn_pp_32"]
    assert all(ratio > 0 for ratio in ratios.values())
    kept = json.loads((tmp_path / "sampling.json").read_text())
    for row in kept["rows"]:
        assert row[-2:] == [str(sampling.ROUNDS), "yes"]  # pixels of the plain loop


def test_the_plain_loop_is_timed_until_its_images_are_whole(tiny_images, monkeypatch, tmp_path):
    monkeypatch.setattr(sampling, "NAIVE_SECONDS", 60.0)
    found = sampling._measured(sampling.CASES["pixelcnn_pp_28"], torch.device("cpu"), lambda: None)
    assert found.pixels == 16
    assert found.are_equal


def test_other_pixels_are_not_called_equal():
    first, second = torch.rand(2, 2, 1, 3, 3)
    loop = sampling._Loop(iter([first] * 5), torch.device("cpu"))
    loop.run(0.0)
    second[..., 0, 0] = first[..., 0, 0]
    assert loop.agrees_with(second)
    loop.run(0.0)
    assert not loop.agrees_with(second)


def test_some_models_alone_leave_no_file_and_unknown_ones_are_refused(tiny_images, tmp_path):
    device = torch.device("cpu")
    sampling.speed_sampling(Console(), device, tmp_path, ["pixelcnn_pp_32"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="did you mean 'pixelcnn_pp_32'"):
        sampling.speed_sampling(Console(), device, tmp_path, ["pixelcnn_pp_3"])


@pytest.fixture
def tiny_training(monkeypatch):
    shapes = {"pixelcnn_pp_28": (1, 4, 4), "pixelcnn_pp_32": (3, 4, 8)}
    cases = {name: training.Case("zoo.pixelcnn_pp:PixelCNNpp", s) for name, s in shapes.items()}
    monkeypatch.setattr(training, "CASES", cases)
    monkeypatch.setattr(training, "BATCH", 3)
    monkeypatch.setattr(training, "IMAGES", 5)


@pytest.mark.parametrize("has_units", [True, False])
def test_training_is_timed_from_the_same_losses(
    tiny_training, has_units, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(training, "has_bfloat16_units", lambda device: has_units)
    training.speed_training(Console(width=120), torch.device("cpu"), tmp_path)
    ratios = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(ratios) == [name + end for name in training.CASES for end in ("", "_bf16")]
    measured = [ratio for ratio in ratios.values() if ratio is not None]
    assert len(measured) == (4 if has_units else 2)
    assert min(measured) > 0
    rows = json.loads((tmp_path / "training.json").read_text())["rows"]
    assert len(rows) == (6 if has_units else 4)
    apart = {row[2]: float(row[-1]) for row in rows}
    assert apart["plain"] == 0
    assert apart["ours, 32-true"] < 1e-5
    assert not has_units or 1e-7 < apart["ours, bf16-mixed"] < 1e-2


def test_other_losses_are_not_called_equal():
    assert training._apart([4.0, 3.0], [4.0, 2.0]) == 0.5


def test_the_stopwatch_leaves_the_last_step_out(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    watch = training.Stopwatch("32-true", torch.device("cpu"))
    for step in range(5):
        watch.snapshot(step, 4, lambda n: pytest.fail("images were drawn"))
    assert watch.seconds == 2.0


def test_some_trainings_alone_leave_no_file_and_unknown_ones_are_refused(tiny_training, tmp_path):
    device = torch.device("cpu")
    training.speed_training(Console(), device, tmp_path, ["pixelcnn_pp_28"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="did you mean 'pixelcnn_pp_28'"):
        training.speed_training(Console(), device, tmp_path, ["pixelcnn_pp_8"])
