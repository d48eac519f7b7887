"""What a suite's tables are written from: the conditions of its last run, kept beside them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import UserError
from benchmark.metrics.base import Annealing, Conditions, Reference
from benchmark.plan import questions_under
from benchmark.store import Cell, load_all, write_atomically
from benchmark.suite import ClaimEntry, PublishedEntry

FILE_NAME = "run.json"


class DataConditions(BaseModel):
    """Conditions, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    examples: int
    network: str | None
    reference: Reference = "test"
    annealing: Annealing = Annealing()
    metrics: tuple[str, ...] | None = None
    quadrature: bool = False

    def conditions(self) -> Conditions:
        return Conditions(**dict(self))


class Manifest(BaseModel):
    """A suite's title, the order of its rows, what every row was measured under.

    `published` is what papers print for some of them, `claims` what they say of two of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    description: str
    budget: float
    models: tuple[str, ...]
    datasets: dict[str, DataConditions]
    published: tuple[PublishedEntry, ...] = ()
    claims: tuple[ClaimEntry, ...] = ()

    def merged_into(self, earlier: "Manifest | None") -> "Manifest":
        """This run added to what earlier runs at the same budget left: no row is lost."""
        if earlier is None or earlier.budget != self.budget:
            return self
        extra = tuple(name for name in earlier.models if name not in self.models)
        datasets = {**earlier.datasets, **self.datasets}
        return self.model_copy(update={"models": (*self.models, *extra), "datasets": datasets})

    def save(self, folder: Path) -> None:
        write_atomically(folder / FILE_NAME, (self.model_dump_json(indent=1) + "\n").encode())


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest in a suite's report folder, None where nothing was run yet."""
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is damaged: delete it and run `all` again") from error


def select_cells(manifest: Manifest, folder: Path) -> list[Cell]:
    """The stored cells that belong into the tables, in the order of their rows."""
    names = list(manifest.models)
    datasets = list(manifest.datasets)
    cells = [
        _under(cell, manifest.datasets[cell.identity.dataset].conditions())
        for cell in load_all(folder / "results")
        if cell.identity.budget == manifest.budget
        and cell.identity.dataset in manifest.datasets
        and cell.identity.model in names
    ]

    def place(cell: Cell) -> tuple[int, int, int]:
        identity = cell.identity
        return datasets.index(identity.dataset), names.index(identity.model), identity.seed

    return sorted(cells, key=place)


def row_order(suite_order: Sequence[str], run: Sequence[str]) -> tuple[str, ...]:
    """The suite's own order, and after it what a user added."""
    return (*suite_order, *(name for name in run if name not in suite_order))


def _under(cell: Cell, conditions: Conditions) -> Cell:
    """The cell with those answers alone that were given under these conditions."""
    answers = [cell.answer(question) for _, question in questions_under(conditions)]
    return replace(cell, results=tuple(answer for answer in answers if answer is not None))
