"""Stored results: one JSON file per cell (data set x model x seed), replaced atomically."""

import base64
import hashlib
import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmark.errors import UserError

FORMAT = 1
_ARRAYS = ("samples", "real", "frames", "completions")  # of a cell
Meaning = Literal["exact", "sandwich", "lower bound", "upper bound", "estimate"]
Status = Literal["measured", "not applicable", "failed"]


@dataclass(frozen=True)
class Question:
    """What was asked of a cell: two values compare only where everything but the model agrees."""

    metric: str
    version: int
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The answer to one question, or the reason why there is none.

    Args:
        value, standard_error, low, high: in the metric's unit; `low` and `high` bound a 95 %
            interval. None where there is none.
        n: examples or samples the value rests on.
        meaning: what the value is to the quantity it is named after. A sandwich is a bound
            whose distance from the truth was measured on data simulated from the model.
        reason: why nothing was measured.
        seconds: wall-clock time the answer took.
        per_example: [n] values whose mean is (up to unit) the value, where there are any.
        details: what else was seen on the way, in plain JSON types: a curve, diagnostics.
    """

    question: Question
    status: Status
    value: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    meaning: Meaning | None = None
    reason: str | None = None
    seconds: float = 0.0
    per_example: np.ndarray | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("value", "standard_error", "low", "high", "seconds"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.question.metric}: {name} is {number}, not finite")
        if (self.status == "measured") != (self.value is not None):
            raise ValueError(f"{self.question.metric}: {self.status} with value {self.value}")
        if self.status != "measured" and not self.reason:
            raise ValueError(f"{self.question.metric}: {self.status} without a reason")


@dataclass(frozen=True)
class Identity:
    """Which cell: everything that decides what the trained model is."""

    dataset: str
    model: str
    seed: int
    budget: float
    factory: str
    settings: Mapping[str, Any]
    data_hash: str
    code_hash: str | None = None  # content of the file that holds the factory

    @property
    def file_name(self) -> str:
        budget = "" if self.budget == 1 else f"_budget{self.budget:g}"
        return f"{self.dataset}_{self.model}_seed{self.seed}{budget}.json"

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits: equal for equal cells, in the hope of nothing else."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Cell:
    """All that is known of one cell; what a report is made from.

    Args:
        role: model, baseline, floor or ceiling: how tables set the row apart.
        shape, levels: the data set's `DataSpec`.
        checkpoint: SHA-256 of the trained state, None before there is one.
        failure: why the model could not be trained or sampled.
        training: {"seconds", "parameters", "curve": {column: [values]}}; a column "step" is
            always there when the curve is not empty.
        samples: some generated examples for figures, [n, *shape].
        real: some real examples for figures, [n, *shape].
        completions: [k, n, *shape] the first n real examples, `kept_rows` of each kept and the
            rest drawn, k times.
        frames: samples during training, [f, n, *shape], at the steps training["frame_steps"].
        provenance: commit, versions, device and the like.
    """

    identity: Identity
    role: str
    shape: tuple[int, ...]
    levels: int | None
    checkpoint: str | None = None
    failure: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    samples: np.ndarray | None = None
    real: np.ndarray | None = None
    frames: np.ndarray | None = None
    completions: np.ndarray | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[Result, ...] = ()

    @cached_property
    def by_metric(self) -> Mapping[tuple[str, int], Sequence[Result]]:
        """The results under each metric's name and version, in the order of `results`."""
        found: dict[tuple[str, int], list[Result]] = {}
        for result in self.results:
            key = result.question.metric, result.question.version
            found.setdefault(key, []).append(result)
        return found

    def answer(self, question: Question) -> Result | None:
        """The stored result of this very question, or None."""
        return next((r for r in self.results if r.question == question), None)

    def with_result(self, result: Result) -> "Cell":
        """A copy in which `result` replaces an answer to the same question."""
        others = tuple(r for r in self.results if r.question != result.question)
        return replace(self, results=(*others, result))


def kept_rows(height: int) -> int:
    """How many rows of an image a completion is given: the upper half."""
    return height // 2


def save(cell: Cell, folder: Path) -> Path:
    """Writes the cell's file whole: after a crash there is the old one or the new one."""
    path = folder / cell.identity.file_name
    text = json.dumps(_to_json(cell), allow_nan=False, indent=1, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())
    return path


def load(path: Path) -> Cell:
    """Reads one cell.

    Raises:
        UserError: the file is damaged or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, this version reads {FORMAT}")
        return _from_json(data)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise UserError(
            f"{path} is damaged ({error}): delete it and run `all` again to measure that cell anew"
        ) from error


def load_all(folder: Path) -> list[Cell]:
    """Every stored cell of a folder, in the order of file names."""
    return [load(path) for path in sorted(folder.glob("*.json"))]


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file so that no reader ever sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _to_json(cell: Cell) -> dict[str, Any]:
    results = [_shallow(result) for result in cell.results]
    for entry in results:
        entry["question"] = _shallow(entry["question"])
        entry["per_example"] = _pack(entry["per_example"])
    return {
        "format": FORMAT,
        **_shallow(cell),
        "identity": _shallow(cell.identity),
        **{name: _pack(getattr(cell, name)) for name in _ARRAYS},
        "results": results,
    }


def _from_json(data: dict[str, Any]) -> Cell:
    results = tuple(
        Result(
            **{
                **entry,
                "question": Question(**entry["question"]),
                "per_example": _unpack(entry["per_example"]),
            }
        )
        for entry in data["results"]
    )
    data = {"frames": None, "completions": None, **data}  # older files have none
    known = {f.name: data[f.name] for f in fields(Cell)}
    return Cell(
        **{
            **known,
            "identity": Identity(**data["identity"]),
            "shape": tuple(data["shape"]),
            **{name: _unpack(data[name]) for name in _ARRAYS},
            "results": results,
        }
    )


def _shallow(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in fields(record)}


def _pack(array: np.ndarray | None) -> dict[str, Any] | None:
    """An array as JSON: small, exact, and free of line noise in a diff."""
    if array is None:
        return None
    array = np.ascontiguousarray(array)
    packed = base64.b85encode(zlib.compress(array.tobytes(), 9)).decode()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "zlib_base85": packed}


def _unpack(entry: Mapping[str, Any] | None) -> np.ndarray | None:
    if entry is None:
        return None
    content = zlib.decompress(base64.b85decode(entry["zlib_base85"]))
    shape: Sequence[int] = entry["shape"]
    return np.frombuffer(content, dtype=entry["dtype"]).reshape(shape)
