"""From stored results to what people read: long table, tables, figures, one page, terminal text.

Nothing here measures: each number is a stored value, or the mean and spread of a few of them.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmark.report.claims import Claim
from benchmark.report.files import csv_table, markdown_table
from benchmark.report.latex import latex_table
from benchmark.report.long_table import long_table
from benchmark.report.page import render_article, render_page
from benchmark.report.published import PublishedValue
from benchmark.report.sections import Material, Progress, build_sections
from benchmark.store import Cell, write_atomically


def write_report(
    folder: Path,
    *,
    title: str,
    cells: Sequence[Cell],
    models: Sequence[str],
    datasets: Sequence[str] = (),
    published: Sequence[PublishedValue] = (),
    claims: Sequence[Claim] = (),
    progress: Progress = lambda done, total: None,
) -> None:
    """Writes `results.csv`, `tables/`, `figures/` and pages; equal cells give equal bytes.

    Args:
        folder: of the suite, `reports/<suite>`. Tables and figures of data sets that `cells` no
            longer holds are removed.
        title: what the page is called.
        cells: of one protocol: one budget and one sample count.
        models: the order of rows; models that it does not name follow as they come in `cells`.
        datasets: the order of data sets, in the same way.
        published: values of papers, shown beside ours in a table of their own.
        claims: what papers say of one model against another, tested on a page of its own.
        progress: told of (data sets done, data sets in all).
    """
    from benchmark.report.agreement_page import agreement_page
    from benchmark.report.claims_page import claims_page
    from benchmark.report.sensitivity_page import sensitivity_page

    files: dict[str, bytes] = {"results.csv": long_table(cells, models, datasets).encode()}
    sections = build_sections(Material(cells, models, published), datasets, progress)
    for section in sections:
        for table in (table for table in section.tables if table.columns):
            files[f"tables/{table.file_name}.md"] = markdown_table(table).encode()
            files[f"tables/{table.file_name}.csv"] = csv_table(table).encode()
            files[f"tables/{table.file_name}.tex"] = latex_table(table).encode()
        files.update(item for figure in section.figures for item in figure.files.items())
    pages = [
        claims_page(cells, datasets, models, claims),
        agreement_page(cells, datasets, models),
        sensitivity_page(cells, datasets, models),
    ]
    articles = [page for page in pages if page is not None]
    for article in articles:
        files |= article.files
        files[article.file_name] = render_article(title, article).encode()
    files["index.html"] = render_page(title, sections, articles).encode()
    for name, content in files.items():
        write_atomically(folder / name, content)
    _remove_stale(folder, keep=set(files))


def _remove_stale(folder: Path, keep: set[str]) -> None:
    """Removes earlier tables, figures and pages, and no file that this module does not write."""
    patterns = ["tables/*_*.md", "tables/*_*.csv", "tables/*_*.tex"]
    pictures = ("samples", "completions", "neighbours", "strip", "coverage", "curves")
    patterns += [*(f"figures/{name}_*.png" for name in pictures), "figures/animation_*.gif"]
    drawn = ("curves", "ais", "classes", "spectra", "agreement", "scatter", "sensitivity")
    patterns += [
        *(f"figures/{name}_*.svg" for name in drawn),
        "agreement.html",
        "claims.html",
        "sensitivity.html",
    ]
    for path in (path for pattern in patterns for path in folder.glob(pattern)):
        if path.relative_to(folder).as_posix() not in keep:
            path.unlink()
