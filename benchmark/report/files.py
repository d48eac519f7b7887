"""A table as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence

from benchmark.report.layout import Column, Row, Table
from benchmark.report.summary import Entry


def markdown_table(table: Table) -> str:
    """The table under a heading, with its notes: GitHub's dialect, aligned for the bare eye."""
    grid = [["Model", *(column.head for column in table.columns)]]
    for group, rows in table.groups:
        grid.append([f"*{group}*", *("" for _ in table.columns)])
        grid.extend(_markdown_row(table.columns, row) for row in rows)
    grid = [[_markdown(cell) for cell in line] for line in grid]
    widths = [max(map(len, cells)) for cells in zip(*grid, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_aligned(line, widths) for line in (grid[0], rule, *grid[1:])]
    notes = [f"- {letter}: {_markdown(why)}" for letter, why in table.footnotes.items()]
    parts = [
        f"## {table.title}: {table.dataset}",
        _markdown(table.caption),
        "\n".join(lines),
        "\n".join(notes),
        *(_markdown(remark) for remark in table.remarks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def csv_table(table: Table) -> str:
    """The same rows with bare numbers; why any are missing stands in the last column."""
    rows = [(group, row) for group, its in table.groups for row in its]
    several = any(entry.seeds > 1 for _, row in rows for entry in row.entries)
    columns: dict[str, list[object]] = {
        "group": [group for group, _ in rows],
        "model": [row.model for _, row in rows],
        "role": [row.role for _, row in rows],
    }
    for place, column in enumerate(table.columns):
        columns |= _csv_columns(column, [row.entries[place] for _, row in rows], several)
    columns["notes"] = [_csv_notes(table, row) for _, row in rows]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [line[0].ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
    return f"| {' | '.join(cells)} |"


def _markdown_row(columns: Sequence[Column], row: Row) -> list[str]:
    cells = [row.label]
    for column, entry, letters in zip(columns, row.entries, row.letters, strict=True):
        text = f"**{column.text(entry)}**" if entry.best else column.text(entry)
        cells.append(f"{text} [{', '.join(letters)}]" if letters else text)
    return cells


def _markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _csv_columns(
    column: Column, entries: Sequence[Entry], several: bool
) -> dict[str, list[object]]:
    """A column's bare numbers; what is derived or published has fewer of them."""
    derived = column.source is None
    shown = [entry.words if derived and entry.words else entry.mean for entry in entries]
    spreads = [entry.spread for entry in entries]
    name = column.identifier
    if derived:
        errors = any(spread is not None for spread in spreads)
        return {name: [*shown], **({f"{name}_error": [*spreads]} if errors else {})}
    return {
        name: [*shown],
        f"{name}_sd" if several else f"{name}_se": [*spreads],
        f"{name}_meaning": [entry.meaning for entry in entries],
        f"{name}_seeds": [f"{entry.measured} of {entry.seeds}" for entry in entries],
        f"{name}_best": ["yes" if entry.best else "no" for entry in entries],
    }


def _csv_notes(table: Table, row: Row) -> str:
    """`fid: reason; elbo, iwae: reason`."""
    where: dict[str, list[str]] = {}
    for column, letters in zip(table.columns, row.letters, strict=True):
        for letter in letters:
            where.setdefault(table.footnotes[letter], []).append(column.identifier)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in where.items())
