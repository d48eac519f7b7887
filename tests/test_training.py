"""Cells trained together, cells whose training diverges, and what training leaves in a cell."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmark.data import load_dataset
from benchmark.metrics.base import Conditions
from benchmark.plan import Plan
from benchmark.planning import in_groups
from benchmark.run import failure_of, run_cell
from benchmark.snapshots import STEPS_BETWEEN, _is_due
from benchmark.store import Identity, load
from benchmark.training import train_group

TOYS = Path(__file__).parent / "toy_models.py"
GAN, STEPS = "zoo.gan:GAN", 40
ASKED = ("modes", "high_quality", "mode_kl")


def make_plan(folder, seed=0, factory=GAN, settings=None):
    if settings is None:
        settings = {"steps": STEPS, "width": 4, "batch_size": 8} if factory == GAN else {}
    identity = Identity("ring", "m", seed, 1.0, factory, settings, load_dataset("ring").hash)
    return Plan(
        identity,
        "model",
        "ring",
        Conditions(samples=200, examples=100, network=None, metrics=ASKED),
        data_root=None,
        inception_weights=None,
        device="cpu",
        precision="32-true",
        results=folder / "results",
        work=folder / f"work{seed}",
        frames=seed == 0,
    )


def group(folder, **options):
    return [make_plan(folder, seed, **options) for seed in range(3)]


def checkpoints(plans):
    return [load(plan.results / plan.identity.file_name).checkpoint for plan in plans]


def test_cells_trained_together_are_then_measured_as_if_trained_alone(tmp_path, monkeypatch):
    plans = group(tmp_path)
    assert train_group(plans) is None
    monkeypatch.setattr("zoo.gan.GAN.fit_together", None)  # nothing is trained again
    assert train_group(plans) is None
    cells = [run_cell(plan) for plan in plans]
    assert len({cell.checkpoint for cell in cells}) == 3
    for plan, cell in zip(plans, cells, strict=True):
        assert failure_of(cell) is None
        assert plan.is_done()
        assert cell.training["together"] == 3
        assert cell.training["curve"]["step"] == list(range(1, STEPS + 1))
        assert len((plan.work / "losses.csv").read_text().splitlines()) == STEPS + 1
        assert not (plan.work / "training.pt").exists()
    first, second = (cell.training["curve"]["generator"] for cell in cells[:2])
    assert first != second


def test_a_group_that_is_trained_again_drops_what_was_drawn_from_the_models_before(tmp_path):
    plans = group(tmp_path)
    train_group(plans)
    before = [run_cell(plan) for plan in plans]
    drawn = [(plan.work / "samples_200.pt").read_bytes() for plan in plans]
    train_group(plans[::-1])  # trained already: nothing is drawn anew
    assert [(plan.work / "samples_200.pt").read_bytes() for plan in plans] == drawn
    (plans[0].work / "model.pt").unlink()
    train_group(plans[::-1])  # in another order, so that other numbers train each
    assert not any((plan.work / "samples_200.pt").exists() for plan in plans)
    assert all(load(plan.results / plan.identity.file_name).results == () for plan in plans)
    after = [run_cell(plan) for plan in plans]
    for old, new, bytes_before, plan in zip(before, after, drawn, plans, strict=True):
        assert new.checkpoint != old.checkpoint
        assert (plan.work / "samples_200.pt").read_bytes() != bytes_before
        assert (new.samples != old.samples).any()


def test_peak_memory_is_that_of_training_where_that_took_more(tmp_path, monkeypatch):
    plans = group(tmp_path)
    monkeypatch.setattr("benchmark.training.peak_memory", lambda device: 9_000)
    train_group(plans)
    for peak, expected in ((2_000, 9_000), (11_000, 11_000)):
        monkeypatch.setattr("benchmark.run.peak_memory", lambda device, peak=peak: peak)
        cell = run_cell(plans[0 if peak == 2_000 else 1])
        assert cell.training["peak_memory_bytes"] == expected


def test_a_group_killed_in_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("zoo.loop.FLUSH_STEPS", 5)

    class Stop(BaseException):
        pass

    def progress(stage, step, total):
        if step == 22:
            raise Stop

    whole, stopped = group(tmp_path / "whole"), group(tmp_path / "stopped")
    train_group(whole)
    with pytest.raises(Stop):
        train_group(stopped, progress)
    assert (stopped[0].work / "training.pt").exists()
    train_group(stopped)
    assert checkpoints(stopped) == checkpoints(whole)
    for a, b in zip(stopped, whole, strict=True):
        one, other = (load(each.results / each.identity.file_name).training for each in (a, b))
        unlike = {"seconds": 0, "peak_memory_bytes": 0}
        assert {**one, **unlike} == {**other, **unlike}


def test_one_that_diverges_in_a_group_is_a_result_and_the_others_are_measured(tmp_path):
    plans = group(tmp_path, factory=f"{TOYS}:OneDiverges")
    assert train_group(plans) is None
    first, second, third = (run_cell(plan) for plan in plans)
    assert "diverged" not in {**first.training, **third.training}
    assert first.checkpoint is not None
    assert second.training["diverged"] == {"step": 7, "steps": 9, "loss": "loss"}
    assert second.checkpoint is None


@pytest.mark.parametrize("factory", [f"{TOYS}:BecomesNaN"])
def test_training_that_diverges_is_a_result_that_counts_against_the_model(tmp_path, factory):
    plan = make_plan(tmp_path, factory=factory)
    cell = run_cell(plan)
    found = {result.question.metric: result for result in cell.results}
    assert cell.failure is None
    assert failure_of(cell) is None
    assert cell.training["diverged"] == {"step": 7, "steps": 9, "loss": "loss"}
    assert [found[name].value for name in ("modes", "high_quality")] == [0.0, 0.0]
    assert found["mode_kl"].status == "not applicable"
    assert found["mode_kl"].reason == "training diverged at step 7 of 9"
    assert plan.is_done()
    assert run_cell(plan) == cell  # neither trained nor asked again


def test_a_group_that_cannot_be_trained_says_so_in_every_cell(tmp_path):
    plans = group(tmp_path, factory=f"{TOYS}:BreaksTogether")
    assert train_group(plans) == "RuntimeError: no luck"
    for plan in plans:
        assert load(plan.results / plan.identity.file_name).failure == "RuntimeError: no luck"
        assert not plan.is_done()


def test_coverage_is_kept_from_the_first_step_to_the_last_and_frames_of_one_seed(tmp_path):
    first, second = (run_cell(make_plan(tmp_path, seed)) for seed in (0, 1))
    for cell in (first, second):
        coverage = cell.training["coverage"]
        assert coverage["step"] == list(range(0, STEPS + 1, STEPS_BETWEEN))
        assert len(coverage["modes"]) == len(coverage["high_quality"]) == len(coverage["step"])
        assert set(coverage["modes"]) <= set(range(9))
    steps = first.training["frame_steps"]
    assert (steps[0], steps[-1]) == (0, STEPS)
    assert first.frames.shape == (len(steps), 500, 2)
    assert second.frames is None
    stored = load(tmp_path / "results" / first.identity.file_name)
    assert (stored.frames == first.frames).all()


@pytest.mark.parametrize(("total", "looks"), [(7, 1), (400, 20), (3000, 100), (20_000, 100)])
def test_looks_are_spread_over_training_and_not_too_close(total, looks):
    steps = [step for step in range(total + 1) if _is_due(step, total)]
    assert (steps[0], steps[-1], len(steps)) == (0, total, 1 + looks)
    between = {after - before for before, after in pairwise(steps)}
    assert max(between) - min(between) <= 1


def test_looking_does_not_change_training(tmp_path, monkeypatch):
    looked = run_cell(make_plan(tmp_path / "looked"))
    monkeypatch.setattr("benchmark.training.Snapshots.__call__", lambda *_: None)
    unlooked = run_cell(make_plan(tmp_path / "unlooked"))
    assert looked.checkpoint == unlooked.checkpoint
    assert "coverage" not in unlooked.training


def test_seeds_of_one_model_on_one_data_set_form_a_group_where_it_can_be_trained_so(tmp_path):
    able, unable = group(tmp_path), group(tmp_path, factory=f"{TOYS}:Quick")
    unable = [replace(p, identity=replace(p.identity, model="quick")) for p in unable]
    elsewhere = [replace(p, identity=replace(p.identity, dataset="grid")) for p in able]
    plans = [able[0], unable[0], elsewhere[0], able[1], unable[1], elsewhere[1]]
    assert in_groups(plans) == [[plan] for plan in plans]
    together = [replace(plan, together=True) for plan in plans]
    able[0], unable[0], elsewhere[0], able[1], unable[1], elsewhere[1] = together
    grouped = [[able[0], able[1]], [unable[0]], [elsewhere[0], elsewhere[1]], [unable[1]]]
    assert in_groups(together) == grouped
