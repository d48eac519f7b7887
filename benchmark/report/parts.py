"""A table before its reasons have letters and its rows have their final shape."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.report.layout import Column
from benchmark.report.summary import Entry

Entries = Mapping[str, tuple[Entry, ...]]


@dataclass(frozen=True)
class Parts:
    """What a kind of table decides: its columns, its entries, the order of its rows.

    Args:
        entries: {model: one entry a column}; models that no group names have no row.
        groups: (title, models).
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    entries: Entries
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    remarks: tuple[str, ...] = ()
