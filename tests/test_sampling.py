from dataclasses import replace

import pytest
import torch
from test_run import make_plan
from toy_models import ChangesWhatItWasGiven, Completes

from benchmark.data import load_dataset
from benchmark.run import run_cell
from benchmark.sampling import COMPLETED_IMAGES, COMPLETIONS, completions
from benchmark.spec import Completer, DataSpec
from benchmark.store import load, save

SPEC = DataSpec((2, 5, 3), levels=7)


def images(n, spec=SPEC):
    return torch.randint(spec.levels, (n, *spec.shape), dtype=torch.uint8)


def test_each_image_is_completed_several_times_below_its_upper_half():
    x, model = images(40), Completes(SPEC)
    assert isinstance(model, Completer)
    drawn = completions(model, x, SPEC)
    assert drawn.shape == (COMPLETIONS, 40, *SPEC.shape)
    for every in drawn:
        assert torch.equal(every[:, :, :2], x[:, :, :2])
    assert not torch.equal(drawn[0], drawn[1])


class Gives:
    def __init__(self, drawn):
        self.complete = lambda x, rows: drawn(x)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (ChangesWhatItWasGiven(SPEC), r"complete\(x, 2\) changed the first 2 rows"),
        (Gives(lambda x: x[1:]), r"gave shape \[5, 2, 5, 3\], not \[6, 2, 5, 3\]"),
        (Gives(lambda x: x.float()), "images must be integers"),
        (Gives(lambda x: x + 7), "not in 0..6"),
    ],
)
def test_completions_that_are_none_are_refused(model, complaint):
    with pytest.raises(ValueError, match=complaint):
        completions(model, images(2), SPEC)


def plan_of(tmp_path, name, dataset="digits"):
    plan = make_plan(tmp_path, name, dataset)
    return replace(plan, conditions=replace(plan.conditions, metrics=("parameters",)))


def test_a_cell_keeps_the_completions_of_the_first_test_images(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, "Completes")
    cell = run_cell(plan)
    assert cell.completions.shape == (COMPLETIONS, COMPLETED_IMAGES, 1, 8, 8)
    test = load_dataset("digits").test[:COMPLETED_IMAGES].numpy()
    assert (cell.completions[:, :, :, :4] == test[:, :, :4]).all()
    assert (cell.real[:COMPLETED_IMAGES] == test).all()
    stored = load(plan.results / plan.identity.file_name)
    assert (stored.completions == cell.completions).all()
    assert stored.completions.dtype == "uint8"
    monkeypatch.setattr("benchmark.run.completions", None)  # they are not drawn again
    assert (run_cell(plan).completions == cell.completions).all()


def test_completions_repeat_under_a_seed_and_go_with_their_model(tmp_path):
    first, again = (run_cell(plan_of(tmp_path / name, "Completes")) for name in "ab")
    assert (first.completions == again.completions).all()
    plan = replace(plan_of(tmp_path / "a", "Completes"), reuse=True)
    (plan.work / "model.pt").unlink()
    save(
        replace(first, checkpoint="of other weights", completions=first.completions * 0),
        plan.results,
    )
    assert (run_cell(plan).completions == first.completions).all()


def test_a_model_without_completions_and_one_of_points_have_none(tmp_path):
    assert run_cell(plan_of(tmp_path / "a", "Quick")).completions is None
    assert run_cell(plan_of(tmp_path / "b", "Completes", "ring")).completions is None


def test_a_model_that_changes_what_it_was_given_fails_with_the_reason(tmp_path):
    cell = run_cell(plan_of(tmp_path, "ChangesWhatItWasGiven"))
    assert "changed the first 4 rows" in cell.failure
