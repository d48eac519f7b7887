"""What a table is made of, before any format: columns, rows, groups, notes."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.metrics.base import Better, Metric
from benchmark.metrics.base import Table as Kind
from benchmark.report.numbers import written_with_spread
from benchmark.report.summary import Entry
from benchmark.store import Meaning

KINDS: dict[Kind, tuple[str, str]] = {  # name in file names, title
    "likelihood": ("likelihood", "Likelihood"),
    "bounds": ("bounds", "Bounds and estimates of log-likelihood"),
    "samples": ("sample_quality", "Sample quality"),
    "distances": ("distances", "Distances between samples and data"),
    "tests": ("two_sample_tests", "Two-sample tests"),
    "memorisation": ("memorisation", "Memorisation"),
    "modes": ("mode_coverage", "Mode coverage"),
    "cost": ("cost", "Cost"),
}
DASH = "—"
_ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
_SIGNS = {"sandwich": "≈ ", "upper bound": "≤ ", "lower bound": "≥ "}


def sign(meaning: Meaning | None) -> str:
    """What stands before a value that is not exact."""
    return _SIGNS.get(meaning or "", "")


@dataclass(frozen=True)
class Source:
    """Which stored results a column shows: values under other settings stand elsewhere."""

    metric: Metric
    settings: str  # from `contents.settings_key`


@dataclass(frozen=True)
class Column:
    """A column's head, and how its entries are written.

    Args:
        details: what the head says besides the label: unit, network, sample count.
        identifier: in the table's CSV; the metric's name unless two columns share that.
        source: None where entries are derived from another column, or were not measured here.
    """

    label: str
    unit: str
    better: Better | None
    decimals: int
    details: tuple[str, ...]
    identifier: str
    source: Source | None = None

    @property
    def name(self) -> str:
        """The label with its arrow, such as `FID ↓`."""
        return self.label + _ARROWS[self.better]

    @property
    def head(self) -> str:
        """All of it in a line, such as `FID ↓ (digits-cnn, n = 400)`."""
        return f"{self.name} ({', '.join(self.details)})" if self.details else self.name

    def text(self, entry: Entry) -> str:
        """An entry as written under this head, without footnotes: `≤ 1.25 ± 0.01 (2 of 3)`."""
        if entry.mean is None:
            return DASH
        if entry.words is not None:
            return entry.words
        number = written_with_spread(entry.mean, entry.spread, self.decimals)
        seeds = "" if entry.measured == entry.seeds else f" ({entry.measured} of {entry.seeds})"
        return f"{sign(entry.meaning)}{number}{seeds}"


@dataclass(frozen=True)
class Row:
    """One model's entries, one a column, and the footnote letters of each.

    Args:
        aside: what stands in brackets behind the name, where its group does not say it.
    """

    model: str
    role: str
    aside: str
    entries: tuple[Entry, ...]
    letters: tuple[tuple[str, ...], ...]

    @property
    def label(self) -> str:
        return f"{self.model} ({self.aside})" if self.aside else self.model


@dataclass(frozen=True)
class Table:
    """One table of one data set. Without any value it has no columns, only remarks.

    Args:
        name: in file names.
        caption: sentences that say how to read it.
        groups: (title, rows) set apart from each other; no group is empty.
        footnotes: {letter: why a value is missing}.
        remarks: sentences about what the table does not show.
    """

    name: str
    title: str
    dataset: str
    caption: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    footnotes: Mapping[str, str]
    remarks: tuple[str, ...]

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.dataset}"
