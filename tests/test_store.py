import json
from dataclasses import replace

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.store import (
    Cell,
    Identity,
    Question,
    Result,
    load,
    load_all,
    save,
    write_atomically,
)

IDENTITY = Identity("digits", "vae", 3, 0.25, "zoo.vae:VAE", {"steps": 7}, "abcd", None)


def measured(value=1.5, **changes):
    question = Question("fid", 1, {"samples": 400, "network": "digits-cnn"})
    return Result(question, "measured", value=value, meaning="estimate", n=400, **changes)


def cell(*results):
    generator = np.random.default_rng(0)
    return Cell(
        IDENTITY,
        "model",
        (1, 8, 8),
        17,
        checkpoint="1234",
        training={"seconds": 1.25, "curve": {"step": [1, 2], "loss": [0.5, None]}},
        samples=generator.integers(0, 17, (5, 1, 8, 8)).astype(np.uint8),
        results=results,
    )


def test_a_cell_comes_back_from_disk_as_it_went(tmp_path):
    per_example = np.linspace(-1, 1, 11).astype(np.float32)
    original = cell(measured(0.1 + 0.2, standard_error=1e-17, per_example=per_example))

    restored = load(save(original, tmp_path))

    assert restored.identity == original.identity
    assert restored.training == original.training
    assert restored.shape == (1, 8, 8)
    np.testing.assert_array_equal(restored.samples, original.samples)
    assert restored.samples.dtype == np.uint8
    (result,) = restored.results
    assert result.value == 0.1 + 0.2  # to the last bit
    np.testing.assert_array_equal(result.per_example, per_example)


def test_the_same_cell_is_written_with_the_same_bytes(tmp_path):
    first = save(cell(measured()), tmp_path / "a").read_bytes()
    again = save(load(tmp_path / "a" / IDENTITY.file_name), tmp_path / "b").read_bytes()
    assert first == again


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_cannot_be_stored(value):
    with pytest.raises(ValueError, match="not finite"):
        measured(value)
    with pytest.raises(ValueError, match="not finite"):
        measured(1.0, standard_error=value)


def test_a_result_without_a_value_needs_a_reason():
    with pytest.raises(ValueError, match="without a reason"):
        Result(Question("fid", 1), "failed")
    with pytest.raises(ValueError, match="with value None"):
        Result(Question("fid", 1), "measured")


def test_an_answer_is_found_by_the_whole_question():
    stored = cell(measured())
    asked = measured().question
    assert stored.answer(asked).value == 1.5
    assert stored.answer(replace(asked, version=2)) is None
    assert stored.answer(replace(asked, settings={**asked.settings, "samples": 401})) is None


def test_a_new_answer_replaces_the_old_one_to_the_same_question():
    stored = cell(measured(1.0)).with_result(measured(2.0))
    assert [result.value for result in stored.results] == [2.0]


def test_what_decides_the_model_decides_the_fingerprint():
    assert IDENTITY.fingerprint == replace(IDENTITY).fingerprint
    for change in (
        {"seed": 4},
        {"settings": {"steps": 8}},
        {"data_hash": "x"},
        {"code_hash": "y"},
    ):
        assert replace(IDENTITY, **change).fingerprint != IDENTITY.fingerprint


def test_budgets_have_files_of_their_own():
    assert IDENTITY.file_name == "digits_vae_seed3_budget0.25.json"
    assert replace(IDENTITY, budget=1.0).file_name == "digits_vae_seed3.json"


@pytest.mark.parametrize("damage", ["", "{", '{"format": 1}', '{"format": 99}', "[1]"])
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    path = save(cell(), tmp_path)
    path.write_text(damage)
    with pytest.raises(UserError, match=r"is damaged .* delete it and run"):
        load_all(tmp_path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "cell.json"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(f"os.{step}", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_json_that_anybody_can_read(tmp_path):
    data = json.loads(save(cell(measured()), tmp_path).read_text())
    assert data["identity"]["model"] == "vae"
    assert data["results"][0]["question"]["settings"]["network"] == "digits-cnn"
