"""A table for LaTeX, cut into parts that fit the page of a standard class."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmark.report.layout import DASH, Column, Row, Table

WIDTH, HEIGHT = 345.0, 550.0  # points, of the text of `article` at 10 pt
GAP = 8.0  # between columns
LINE = {r"\footnotesize": 9.5, r"\scriptsize": 8.0}
CHARACTER = {r"\footnotesize": 4.25, r"\scriptsize": 3.99}  # a digit's width in Computer Modern
SHARES = {  # of a digit's width; all other characters count 1
    **dict.fromkeys(".,:;()|'-il", 0.6),
    " ": 0.68,
    **dict.fromkeys("mw_", 1.65),
    **dict.fromkeys("ABCDEFGHIJKLNOPQRSTUVXYZ", 1.4),
    **dict.fromkeys("MW", 1.85),
    **dict.fromkeys("±≤≥≈−→×", 1.6),
}
BOLD, RAISED = 1.15, 0.95
NOTES_AT_ONCE = 12
_SPELT = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", '"': "''", DASH: "--", "–": "--", "−": "$-$"},
    **{
        "±": r"$\pm$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "≈": r"$\approx$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    },
    **{
        "²": "$^2$",
        "₂": "$_2$",
        "→": r"$\to$",
        "×": r"$\times$",
        "σ": r"$\sigma$",
        "∞": r"$\infty$",
    },
}


@dataclass(frozen=True)
class _Block:
    """Lines that stay on one page, and how high they are in points."""

    text: str
    height: float


def latex_table(table: Table) -> str:
    """`table` environments that need booktabs and nothing else.

    Columns beyond a page's width go on below, in a tabular of their own; what is beyond its
    height, in a further `table` of the same number.
    """
    size, places = _layout(table)
    caption = _latex(table.caption)
    blocks = [_tabular(table, part, size) for part in places] + [*_notes(table, size)]
    room = HEIGHT - _lines(table.caption, 5.0) * 12 - 30
    tables = []
    for page, (first, *others) in enumerate(_pages(blocks, room)):
        said = caption if page == 0 else "Continued."
        again = [r"\addtocounter{table}{-1}"] if page else []
        body = [first.text, *(f"\\par\\medskip\n{block.text}" for block in others)]
        tables += [
            r"\begin{table}",
            rf"\centering{size}\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}",
            r"\setlength{\belowcaptionskip}{6pt}",
            *again,
            rf"\caption{{{said}}}",
            *body,
            r"\end{table}",
        ]
    return "\n".join([r"% needs \usepackage{booktabs}", *tables]) + "\n"


def _layout(table: Table) -> tuple[str, list[range]]:
    """The size of the letters, and which columns stand side by side."""
    for size in LINE:
        places = [*_beside(_widths(table, size))]
        if len(places) == 1:
            break
    return size, places


def _widths(table: Table, size: str) -> list[float]:
    """Of the models' names and of each column, in points."""
    rows = [row for _, its in table.groups for row in its]
    names = max((_width(row.label) for row in rows), default=0.0)
    columns = [
        max(
            _width(column.name),
            *(_width(detail) for detail in column.details),
            *(_cell_width(column, row, place) for row in rows),
        )
        for place, column in enumerate(table.columns)
    ]
    return [width * CHARACTER[size] + GAP for width in (names, *columns)]


def _beside(widths: Sequence[float]) -> Iterator[range]:
    """Columns that fit the page beside the names; one that never does stands alone."""
    names, *columns = widths
    start, used = 0, names
    for place, width in enumerate(columns):
        if place > start and used + width > WIDTH:
            yield range(start, place)
            start, used = place, names
        used += width
    yield range(start, len(columns))


def _cell_width(column: Column, row: Row, place: int) -> float:
    entry, letters = row.entries[place], row.letters[place]
    width = _width(column.text(entry)) * (BOLD if entry.best else 1)
    return width + RAISED * _width(",".join(letters))


def _width(text: str) -> float:
    """In digits of the same font."""
    return sum(SHARES.get(character, 1.0) for character in text)


def _pages(blocks: Sequence[_Block], room: float) -> Iterator[list[_Block]]:
    """Blocks in their order, as many on each page as it has room for."""
    page: list[_Block] = []
    used = 0.0
    for block in blocks:
        if page and used + block.height > room:
            yield page
            page, used = [], 0.0
        page.append(block)
        used += block.height
    yield page


def _tabular(table: Table, places: range, size: str) -> _Block:
    """Some columns of every row."""
    columns = [table.columns[place] for place in places]
    depth = max((len(column.details) for column in columns), default=0)
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        _line(["Model", *(_latex(column.name) for column in columns)]),
        *(_line(["", *_details(columns, level)]) for level in range(depth)),
    ]
    for group, rows in table.groups:
        title = rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{{group}}}}} \\"
        lines += [r"\midrule", title]
        lines += [_line(_row(table.columns, row, places)) for row in rows]
    text = "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
    return _Block(text, LINE[size] * text.count(r"\\") + 6 * (len(table.groups) + 3))


def _notes(table: Table, size: str) -> Iterator[_Block]:
    """Why values are missing, a few notes a paragraph, and a paragraph for each remark."""
    notes = [
        (f"{letter} {why}", rf"\textsuperscript{{{letter}}}\,{_latex(why)}")
        for letter, why in table.footnotes.items()
    ]
    starts = range(0, len(notes), NOTES_AT_ONCE)
    paragraphs = [notes[start : start + NOTES_AT_ONCE] for start in starts]
    paragraphs += [[(remark, _latex(remark))] for remark in table.remarks]
    for paragraph in paragraphs:
        read, written = ("; ".join(parts) for parts in zip(*paragraph, strict=True))
        height = _lines(read, CHARACTER[size]) * LINE[size] + 6
        yield _Block(rf"{{\raggedright {written}\par}}", height)


def _lines(text: str, character: float) -> int:
    return math.ceil(_width(text) * character / WIDTH)


def _row(columns: Sequence[Column], row: Row, places: range) -> list[str]:
    cells = [_latex(row.label)]
    for place in places:
        entry, letters = row.entries[place], row.letters[place]
        text = _latex(columns[place].text(entry))
        text = rf"\textbf{{{text}}}" if entry.best else text
        cells.append(text + (rf"\textsuperscript{{{','.join(letters)}}}" if letters else ""))
    return cells


def _details(columns: Sequence[Column], level: int) -> list[str]:
    return [
        rf"{{\scriptsize {_latex(column.details[level])}}}" if level < len(column.details) else ""
        for column in columns
    ]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex(text: str) -> str:
    """Text for LaTeX: every character it would stumble over is escaped or spelt otherwise."""
    return "".join(_SPELT.get(character) or _plain(character) for character in text)


def _plain(character: str) -> str:
    if ord(character) < 256:
        return character
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"
