"""A page beside index.html that answers one question: sentences, figures, tables that sort."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.figures import Drawing

Written = tuple[str, float | str | None]  # as it is read, and what it sorts by


@dataclass(frozen=True)
class Listing:
    """A table of text.

    Args:
        name: its anchor, and `tables/<name>.csv` holds its numbers.
        head: of the columns; the first names the row.
        groups: (title, rows); one group without a title stands alone.
        csv: the numbers behind the text, unrounded.
        folded: whether a reader opens it first.
        wordy: whether its first three columns hold sentences, over several lines.
    """

    name: str
    title: str
    head: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[Written]]]]
    csv: str
    folded: bool = False
    wordy: bool = False


@dataclass(frozen=True)
class Chapter:
    """What an article says of one data set."""

    dataset: str
    sentences: Sequence[str]
    figures: Sequence[Drawing] = ()
    listings: Sequence[Listing] = ()


@dataclass(frozen=True)
class Article:
    """One page.

    Args:
        name: of its file, without the suffix.
        title: the question.
        rules: how to read the answers, (what, sentence).
    """

    name: str
    title: str
    rules: Sequence[tuple[str, str]]
    chapters: Sequence[Chapter]

    @property
    def file_name(self) -> str:
        return f"{self.name}.html"

    @property
    def files(self) -> dict[str, bytes]:
        """{name under the report's folder: bytes} besides the page itself."""
        files: dict[str, bytes] = {}
        for chapter in self.chapters:
            for figure in chapter.figures:
                files |= figure.files
            for listing in chapter.listings:
                files[f"tables/{listing.name}.csv"] = listing.csv.encode()
        return files
