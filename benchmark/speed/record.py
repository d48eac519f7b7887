"""What a speed command leaves: a printed table, the same in files, JSON as its last line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmark.errors import unknown_name
from benchmark.provenance import provenance
from benchmark.store import write_atomically


@dataclass(frozen=True)
class SpeedRecord:
    """One speed command's findings.

    Args:
        name: of the files, as in `ais`.
        title: one line.
        columns: heads of the table; the first names the rows.
        rows: cells as they are shown.
        notes: sentences that say what was measured and how.
        ratios: how many times faster, by name; None where it could not be had.
        machine: where it was measured, and with which versions.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    ratios: Mapping[str, float | None]
    machine: Mapping[str, Any]


def chosen(only: Sequence[str] | None, known: Mapping[str, object], kind: str) -> list[str]:
    """The names asked for, all that are known if None.

    Raises:
        UserError: a name is unknown; the message says what `kind` of thing it should be.
    """
    names = list(known) if only is None else list(only)
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)
    return names


def place(device: torch.device) -> str:
    """What a note says of where it was measured."""
    return f"{torch.get_num_threads()} threads" if device.type == "cpu" else "GPU"


def machine(device: torch.device) -> dict[str, Any]:
    """The processor or GPU, the threads in use, and the commit and packages measured."""
    return {**provenance(device.type), "threads": torch.get_num_threads()}


def publish(record: SpeedRecord, console: Console, folder: Path | None) -> None:
    """Prints the record and, given a folder, leaves `<name>.json` and `<name>.md` there."""
    console.print(_table(record))
    for note in record.notes:
        console.print(note, highlight=False)
    if folder is not None:
        write_atomically(folder / f"{record.name}.json", _as_json(record).encode())
        write_atomically(folder / f"{record.name}.md", as_markdown(record).encode())
    print(json.dumps(record.ratios))


def as_markdown(record: SpeedRecord) -> str:
    """A page with the table, the notes and the machine."""
    heads = [
        f"| {' | '.join(record.columns)} |",
        f"| --- {'| ---: ' * (len(record.columns) - 1)}|",
    ]
    rows = [f"| {' | '.join(row)} |" for row in record.rows]
    paragraphs = [f"# {record.title}", "\n".join(heads + rows), *record.notes, _where(record)]
    return "\n\n".join(paragraphs) + "\n"


def to_digits(ratio: float) -> float:
    """Four significant digits: a small ratio must not become zero."""
    return float(f"{ratio:.4g}")


def _table(record: SpeedRecord) -> Table:
    table = Table(
        *record.columns, title=record.title, title_justify="left", box=None, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for row in record.rows:
        table.add_row(*row)
    return table


def _as_json(record: SpeedRecord) -> str:
    return json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _where(record: SpeedRecord) -> str:
    found = record.machine
    commit = str(found["commit"] or "unknown")[:9] + (" with changes" if found["dirty"] else "")
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return (
        f"Measured on {found['device']}, {found['threads']} threads; commit {commit}; {packages}."
    )
