"""What a table is made of, before any format: columns, rows, groups, notes."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.metrics.base import Metric
from benchmark.metrics.base import Table as Kind
from benchmark.report.contents import Group
from benchmark.report.numbers import written_with_spread
from benchmark.report.summary import Entry

KINDS: dict[Kind, tuple[str, str]] = {  # name in file names, title
    "likelihood": ("likelihood", "Likelihood"),
    "samples": ("sample_quality", "Sample quality"),
    "modes": ("mode_coverage", "Mode coverage"),
    "cost": ("cost", "Cost"),
}
DASH = "—"
_ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
_BOUNDS = {"upper bound": "≤ ", "lower bound": "≥ "}


@dataclass(frozen=True)
class Column:
    """A metric under one setting: values of another network or sample count stand elsewhere.

    Args:
        settings: key of the setting, from `contents.settings_key`.
        details: what the head says besides the label: unit, network, sample count.
        identifier: in the table's CSV; the metric's name unless two columns share that.
    """

    metric: Metric
    settings: str
    details: tuple[str, ...]
    identifier: str

    @property
    def name(self) -> str:
        """The label with its arrow, such as `FID ↓`."""
        return self.metric.label + _ARROWS[self.metric.better]

    @property
    def head(self) -> str:
        """All of it in a line, such as `FID ↓ (digits-cnn, n = 400)`."""
        return f"{self.name} ({', '.join(self.details)})" if self.details else self.name

    def text(self, entry: Entry) -> str:
        """An entry as written under this head, without footnotes: `≤ 1.25 ± 0.01 (2 of 3)`."""
        if entry.mean is None:
            return DASH
        number = written_with_spread(entry.mean, entry.spread, self.metric.decimals)
        seeds = "" if entry.measured == entry.seeds else f" ({entry.measured} of {entry.seeds})"
        return f"{_BOUNDS.get(entry.meaning or '', '')}{number}{seeds}"


@dataclass(frozen=True)
class Row:
    """One model's entries, one a column, and the footnote letters of each."""

    model: str
    role: str
    entries: tuple[Entry, ...]
    letters: tuple[tuple[str, ...], ...]

    @property
    def label(self) -> str:
        return f"{self.model} ({self.role})" if self.role in ("ceiling", "floor") else self.model


@dataclass(frozen=True)
class Table:
    """One kind of table of one data set. Without any value it has no columns, only remarks.

    Args:
        caption: sentences that say how to read it.
        groups: rows set apart from each other; no group is empty.
        footnotes: {letter: why a value is missing}.
        remarks: sentences about what the table does not show.
    """

    kind: Kind
    dataset: str
    caption: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[Group, tuple[Row, ...]], ...]
    footnotes: Mapping[str, str]
    remarks: tuple[str, ...]

    @property
    def file_name(self) -> str:
        return f"{KINDS[self.kind][0]}_{self.dataset}"

    @property
    def title(self) -> str:
        return KINDS[self.kind][1]
