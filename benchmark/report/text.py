"""Tables for a terminal of 80 columns, in plain text: a star stands for bold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import wrap

from benchmark.metrics.base import OF_SAMPLES
from benchmark.metrics.base import Table as Kind
from benchmark.report.contents import datasets_of, grouped
from benchmark.report.layout import DASH, KINDS, Column, Table, sign
from benchmark.report.summary import Entry
from benchmark.report.tables import build_table
from benchmark.store import Cell

WIDTH = 80
KEY_METRICS_OF_IMAGES = ("bits_per_dim", "fid", "precision", "recall", "modes", "mode_kl")
KEY_METRICS_OF_CONTINUOUS_IMAGES = ("nll", "fid", "precision", "recall")
KEY_METRICS_OF_POINTS = ("nll", "wasserstein", "modes", "high_quality")
MOST_NAME = 20  # characters of a model's name
_SIGNS = {"≈": "a sandwich: upper bound, its gap measured", "≤": "upper bound, gap unknown"}
_GAP = "  "


def summary_table(
    cells: Sequence[Cell],
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    *,
    width: int = WIDTH,
) -> str:
    """The key columns of every data set, as far as they are measured.

    Args:
        cells: of one protocol.
        models: the order of rows; models that it does not name follow as they come in `cells`.
        datasets: the order of data sets, in the same way.
        width: characters a line; columns that do not fit continue below.

    Returns:
        Lines without a newline at the end; empty if there are no cells.
    """
    parts = []
    for dataset, its_cells in datasets_of(cells, datasets).items():
        tables = [build_table(kind, dataset, its_cells, models) for kind in KINDS]
        rows = grouped(its_cells, models)
        heading = f"{dataset}: {_spread(its_cells)}"
        keys = _key_metrics(its_cells[0])
        parts.append("\n".join([heading, *_lines(tables, rows, width, only=keys)]))
    text = "\n\n".join(parts)
    signs = [f"{mark} {words}" for mark, words in _SIGNS.items() if mark in text]
    legend = [f"* best of its kind, or within error of it   {DASH} no value: the report says why"]
    return "\n".join([text, "", *legend, *["   ".join(signs)] * bool(signs)]) if parts else ""


def dataset_tables(
    dataset: str,
    cells: Sequence[Cell],
    models: Sequence[str] = (),
    *,
    kinds: Sequence[Kind] = (*OF_SAMPLES, "modes"),
    width: int = WIDTH,
) -> str:
    """Every column of some kinds of tables of one data set, with the reasons for dashes."""
    parts = []
    for kind in kinds:
        table = build_table(kind, dataset, cells, models)
        heading = f"{table.title} on {dataset}: {_spread(cells)}"
        notes = [f"{DASH} {why}" for why in table.footnotes.values()]
        wrapped = [line for note in (*notes, *table.remarks) for line in wrap(note, width)]
        rows = [(title, [row.model for row in its]) for title, its in table.groups]
        lines = _lines([table], rows, width) if table.columns else []
        parts.append("\n".join([heading, *lines, *wrapped]))
    return "\n\n".join(parts)


def _spread(cells: Sequence[Cell]) -> str:
    seeds = len({cell.identity.seed for cell in cells})
    return f"mean ± s.d. over {seeds} seeds" if seeds > 1 else "value ± standard error, one seed"


def _key_metrics(cell: Cell) -> tuple[str, ...]:
    if len(cell.shape) < 3:
        return KEY_METRICS_OF_POINTS
    return KEY_METRICS_OF_IMAGES if cell.levels else KEY_METRICS_OF_CONTINUOUS_IMAGES


# A part is a column in text: its head's lines, then the cells of each group.
Part = list[list[str]]
Layout = Sequence[tuple[str, Sequence[str]]]  # (group, models)


def _lines(
    tables: Sequence[Table], rows: Layout, width: int, only: Sequence[str] | None = None
) -> list[str]:
    """The columns of several tables side by side, in blocks that fit the width."""
    chosen = [
        (table, position)
        for table in tables
        for position, column in enumerate(table.columns)
        if only is None or (column.source and column.source.metric.name in only)
    ]
    if not chosen:
        return ["no value yet"]
    depth = max(len(table.columns[position].details) for table, position in chosen)
    measured = _measured_seeds(tables)
    labels = _label_part(rows, measured, depth)
    parts = [_column_part(table, position, rows, measured, depth) for table, position in chosen]
    titles = [title for title, _ in rows]
    blocks = [_side_by_side([labels, *block], titles) for block in _blocks(labels, parts, width)]
    return [line for index, block in enumerate(blocks) for line in [""] * (index > 0) + block]


def _measured_seeds(tables: Sequence[Table]) -> dict[str, tuple[int, int]]:
    """{model: (seeds with some value, seeds of the data set)}."""
    counts: dict[str, tuple[int, int]] = {}
    pairs = [(table.columns, row) for table in tables for _, its in table.groups for row in its]
    for columns, row in pairs:
        for column, entry in zip(columns, row.entries, strict=True):
            most, _ = counts.get(row.model, (0, 0))
            measured = entry.measured if column.source else 0
            counts[row.model] = (max(most, measured), entry.seeds)
    return counts


def _label_part(rows: Layout, measured: Mapping[str, tuple[int, int]], depth: int) -> Part:
    """Names of models; where some lack a seed, also how many each has."""
    names = [models for _, models in rows]
    part = _padded([["model", *[""] * depth], *([*map(_shortened, g)] for g in names)], left=True)
    if all(most == seeds for most, seeds in measured.values()):
        return part
    shares = [["{}/{}".format(*measured[name]) for name in group] for group in names]
    counts = _padded([["seeds", *[""] * depth], *shares], left=False)
    return [
        [_GAP.join(pair) for pair in zip(*sections, strict=True)]
        for sections in zip(part, counts, strict=True)
    ]


def _column_part(
    table: Table,
    position: int,
    rows: Layout,
    measured: Mapping[str, tuple[int, int]],
    depth: int,
) -> Part:
    column = table.columns[position]
    head = [column.name, *column.details, *[""] * (depth - len(column.details))]
    entries = {row.model: row.entries[position] for _, its in table.groups for row in its}
    groups = [
        [_cell(column, entries[model], measured[model][0]) for model in models]
        for _, models in rows
    ]
    return _padded([[f"{line} " for line in head], *groups], left=False)


def _cell(column: Column, entry: Entry, measured: int) -> str:
    """As in the other formats but tighter; the star's place is kept free where there is none."""
    if entry.measured == measured:  # the column of seeds says it
        entry = replace(entry, seeds=measured)
    mark = sign(entry.meaning)
    text = column.text(entry).replace(" ± ", "±").replace(mark, mark.strip())
    return f"{text}*" if entry.best else f"{text} "


def _padded(part: Part, *, left: bool) -> Part:
    width = max(len(text) for section in part for text in section)
    return [[text.ljust(width) if left else text.rjust(width) for text in s] for s in part]


def _blocks(labels: Part, parts: Sequence[Part], width: int) -> list[list[Part]]:
    room = width - len(labels[0][0])
    blocks: list[list[Part]] = [[]]
    used = 0
    for part in parts:
        needed = len(_GAP) + len(part[0][0])
        if blocks[-1] and used + needed > room:
            blocks.append([])
            used = 0
        blocks[-1].append(part)
        used += needed
    return blocks


def _side_by_side(parts: Sequence[Part], titles: Sequence[str]) -> list[str]:
    sections = [
        [_GAP.join(cells).rstrip() for cells in zip(*section, strict=True)]
        for section in zip(*parts, strict=True)
    ]
    width = sum(len(part[0][0]) for part in parts) + len(_GAP) * (len(parts) - 1)
    lines = list(sections[0])
    for title, section in zip(titles, sections[1:], strict=True):
        lines += [f"─ {title} ".ljust(width, "─"), *section]
    return lines


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"
