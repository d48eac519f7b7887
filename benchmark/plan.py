"""What a worker is told of one cell, and the questions that a cell answers."""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.metrics import METRICS
from benchmark.metrics.base import Conditions, Metric
from benchmark.store import Cell, Identity, Question, load


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know to run one cell.

    Args:
        identity: what is trained.
        role: model, baseline, ceiling or floor.
        data_source: the data set's name or path, as `load_dataset` takes it.
        conditions: under which it is measured.
        results: folder of stored cells.
        work: the cell's own folder for checkpoints and samples.
        reuse: take stored results as they are, even where `work` shows that another machine (or
            another clone) measured them.
        together: its seeds train as one batched model, where the model can.
        frames: keep samples of points during training, for pictures.
    """

    identity: Identity
    role: str
    data_source: str
    conditions: Conditions
    data_root: Path | None
    inception_weights: Path | None
    device: str
    precision: str
    results: Path
    work: Path
    reuse: bool = False
    together: bool = False
    frames: bool = False

    @property
    def questions(self) -> list[tuple[Metric, Question]]:
        return questions_under(self.conditions)

    def stored(self) -> Cell | None:
        """What earlier runs left of this very cell; None if it is new or was another model."""
        path = self.results / self.identity.file_name
        if not path.exists() or not (self.reuse or self.work.exists()):
            return None
        cell = load(path)
        expected = self.identity
        if self.reuse:  # a comment added since is no reason to train again
            expected = replace(expected, code_hash=cell.identity.code_hash)
        return cell if cell.identity == expected else None

    def is_done(self) -> bool:
        """Whether every question has an answer that need not be asked again."""
        cell = self.stored()
        if cell is None or cell.failure:
            return False
        answers = [cell.answer(question) for _, question in self.questions]
        return all(answer is not None and answer.status != "failed" for answer in answers)


def question(metric: Metric, conditions: Conditions) -> Question:
    return Question(metric.name, metric.version, dict(metric.settings(conditions)))


def questions_under(conditions: Conditions) -> list[tuple[Metric, Question]]:
    """The metrics that the conditions ask for, each with its question."""
    asked = conditions.metrics
    return [
        (metric, question(metric, conditions))
        for metric in METRICS
        if asked is None or metric.name in asked
    ]
