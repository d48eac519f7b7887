import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.data import load_dataset
from benchmark.metrics.base import Conditions
from benchmark.plan import Plan
from benchmark.run import measure, run_cell
from benchmark.sampling import check_samples
from benchmark.spec import DataSpec
from benchmark.store import Identity, save

TOYS = Path(__file__).parent / "toy_models.py"


def make_plan(tmp_path, name="Quick", dataset="ring", factory=None):
    identity = Identity(
        dataset=dataset,
        model=name,
        seed=0,
        budget=1.0,
        factory=factory or f"{TOYS}:{name}",
        settings={},
        data_hash=load_dataset(dataset).hash,
    )
    network = "digits-cnn" if dataset == "digits" else None
    return Plan(
        identity,
        "model",
        dataset,
        Conditions(samples=200, examples=100, network=network),
        data_root=None,
        inception_weights=None,
        device="cpu",
        precision="32-true",
        results=tmp_path / "results",
        work=tmp_path / "work",
    )


def values(cell):
    return {r.question.metric: (r.value, r.standard_error) for r in cell.results}


COSTS = ("train_seconds", "samples_per_second", "peak_memory")


def test_a_cell_holds_an_answer_or_a_reason_for_every_metric(tmp_path):
    plan = make_plan(tmp_path)
    cell = run_cell(plan)
    assert len(cell.results) == len(plan.questions)
    assert all(r.value is not None or r.reason for r in cell.results)
    assert not [r.reason for r in cell.results if r.status == "failed"]
    assert plan.is_done()
    assert len(cell.training["curve"]["step"]) == 200


def test_a_finished_cell_is_neither_trained_nor_measured_again(tmp_path, monkeypatch):
    plan = make_plan(tmp_path)
    first = run_cell(plan)
    monkeypatch.setattr("benchmark.run.measure", None)
    assert values(run_cell(plan)) == values(first)


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    a, b = run_cell(make_plan(tmp_path / "a")), run_cell(make_plan(tmp_path / "b"))
    assert a.checkpoint == b.checkpoint
    same = {name for name in values(a) if name not in COSTS}
    assert {n: values(a)[n] for n in same} == {n: values(b)[n] for n in same}


def test_a_slow_sampler_tells_how_far_it_has_come(tmp_path):
    told = []
    run_cell(make_plan(tmp_path, "TellsOfDrawing"), lambda *seen: told.append(seen))
    assert ("sampling", 100, 200) in told


def test_what_completes_slowly_tells_it_of_its_completions(tmp_path):
    told = []
    run_cell(make_plan(tmp_path, "TellsOfCompleting", "digits"), lambda *seen: told.append(seen))
    assert ("completing", 12, 24) in told
    assert ("sampling", 12, 24) not in told


def with_classes(plan, classes):
    return replace(plan, identity=replace(plan.identity, settings={"classes": classes}))


def learnt_mean(plan):
    run_cell(plan)
    return torch.load(plan.work / "model.pt", weights_only=True)["mean"][:2].tolist()


def test_a_model_with_classes_is_given_the_labels(tmp_path):
    data = load_dataset("digits")
    plan = make_plan(tmp_path, "LearnsLabels", "digits")
    splits = (data.train_labels, data.validation_labels)
    expected = [labels.double().mean().item() for labels in splits]
    assert learnt_mean(with_classes(plan, 10)) == pytest.approx(expected)
    other = replace(plan, work=tmp_path / "other")
    assert learnt_mean(with_classes(other, 0)) == [0.0, 0.0]


def test_a_model_with_classes_on_data_without_says_what_to_do(tmp_path):
    cell = run_cell(make_plan(tmp_path, "LearnsLabels", "ring"))
    assert "ring has no labels: build it without" in cell.failure


@pytest.mark.parametrize(
    ("dataset", "kept"), [("ring", True), ("digits", True), ("manifold", False)]
)
def test_samples_are_kept_for_figures_where_these_can_show_them(tmp_path, dataset, kept):
    cell = run_cell(make_plan(tmp_path, "Quick", dataset))
    assert {examples is not None for examples in (cell.samples, cell.real)} == {kept}
    assert not [result.reason for result in cell.results if result.status == "failed"]


def test_another_seed_gives_another_model(tmp_path):
    plan = make_plan(tmp_path)
    other = replace(plan, identity=replace(plan.identity, seed=1), work=tmp_path / "other")
    assert run_cell(plan).checkpoint != run_cell(other).checkpoint


def test_reused_results_stand_only_for_the_model_they_measured(tmp_path, monkeypatch):
    plan = replace(make_plan(tmp_path), reuse=True)
    first = run_cell(plan)
    shutil.rmtree(plan.work)
    with monkeypatch.context() as patched:
        patched.setattr("benchmark.run.measure", None)  # the same weights come out again
        assert values(run_cell(plan)) == values(first)

    asked = []
    shutil.rmtree(plan.work)
    save(replace(first, checkpoint="of other weights"), plan.results)
    monkeypatch.setattr("benchmark.run.measure", lambda *a: asked.append(a) or measure(*a))
    run_cell(plan)
    assert len(asked) == len(plan.questions)


@pytest.mark.parametrize("stop", ["training", "sampling", "measuring MMD²"])
def test_a_run_stopped_anywhere_ends_with_the_same_numbers(tmp_path, monkeypatch, stop):
    monkeypatch.setattr("zoo.loop.CHECKPOINT_SECONDS", 0.0)

    class Stop(BaseException):
        pass

    def progress(stage, step, total):
        if stage == stop and (stage != "training" or step == 120):
            raise Stop

    whole = run_cell(make_plan(tmp_path / "whole"))
    plan = make_plan(tmp_path / "stopped")
    with pytest.raises(Stop):
        run_cell(plan, progress)
    resumed = run_cell(plan)
    assert resumed.checkpoint == whole.checkpoint
    for name, value in values(whole).items():
        if name not in COSTS:
            assert values(resumed)[name] == value, name
    assert resumed.training["curve"] == whole.training["curve"]


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, False), (10.0, True)])
def test_an_answer_that_took_long_is_stored_at_once(tmp_path, monkeypatch, seconds, kept):
    plan, answered = make_plan(tmp_path), []

    def timed(metric, asked, evidence):
        if answered:
            raise KeyboardInterrupt
        answered.append(asked)
        return replace(measure(metric, asked, evidence), seconds=seconds)

    monkeypatch.setattr("benchmark.run.measure", timed)
    with pytest.raises(KeyboardInterrupt):
        run_cell(plan)
    assert (plan.stored().answer(answered[0]) is not None) == kept


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Diverges", "FloatingPointError: loss became nan at step 7"), ("SamplesNaN", "not finite")],
)
def test_a_model_that_fails_is_a_cell_with_the_reason(tmp_path, name, reason):
    plan = make_plan(tmp_path, name)
    cell = run_cell(plan)
    assert reason in cell.failure
    assert not plan.is_done()
    assert reason in json.loads((plan.results / plan.identity.file_name).read_text())["failure"]


def test_a_metric_that_fails_leaves_the_others(tmp_path):
    cell = run_cell(make_plan(tmp_path, "BadLikelihood"))
    found = {r.question.metric: r for r in cell.results}
    assert found["nll"].reason == "RuntimeError: no luck"
    assert found["nll"].status == "failed"
    assert math.isfinite(found["mmd"].value)


def test_digits_are_measured_through_the_shipped_classifier(tmp_path):
    cell = run_cell(make_plan(tmp_path, "noise", "digits", "zoo.baselines:Noise"))
    found = {r.question.metric: r for r in cell.results}
    assert found["fid"].question.settings["network"] == "digits-cnn"
    assert found["fid"].value > 10
    assert found["bits_per_dim"].value == pytest.approx(math.log2(17))
    assert found["bits_per_dim"].meaning == "exact"
    assert found["modes"].status == "not applicable"


IMAGES = DataSpec((1, 2, 2), levels=3)


@pytest.mark.parametrize(
    ("samples", "spec", "complaint"),
    [
        (torch.zeros(5, 1, 2, 3).long(), IMAGES, r"shape \[5, 1, 2, 3\], not \[5, 1, 2, 2\]"),
        (torch.zeros(5, 1, 2, 2), IMAGES, "must be integers"),
        (torch.full((5, 1, 2, 2), 3), IMAGES, r"lie in 3\.\.3, not in 0\.\.2"),
        (torch.full((5, 2), float("nan")), DataSpec((2,)), "10 sampled numbers are not finite"),
        (torch.zeros(5, 2).long(), DataSpec((2,)), "points must be floats"),
    ],
)
def test_samples_outside_the_data_space_are_refused(samples, spec, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_samples(samples, spec, 5)
