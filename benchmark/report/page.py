"""index.html, with every table and figure of a suite, and the articles: each page stands alone."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from benchmark.metrics import METRICS
from benchmark.report.article import Article
from benchmark.report.contents import one_line, outdated
from benchmark.report.figures import Drawing
from benchmark.report.layout import Table
from benchmark.report.numbers import count
from benchmark.store import Cell

_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_MOST_VALUES = 6  # of one provenance key, in a line


@dataclass(frozen=True)
class Section:
    """One data set's part of the page."""

    dataset: str
    cells: Sequence[Cell]
    tables: Sequence[Table]
    figures: Sequence[Drawing]

    @property
    def space(self) -> str:
        """What an example is, such as `1×8×8 images, 17 levels`."""
        cell = self.cells[0]
        sides = "×".join(map(str, cell.shape))
        if len(cell.shape) == 3:
            return (
                f"{sides} images, {cell.levels} levels"
                if cell.levels
                else f"{sides} continuous images"
            )
        return f"points in {sides} dimensions"


def render_page(title: str, sections: Sequence[Section], articles: Sequence[Article]) -> str:
    """The page as HTML text, style, script and figures inside, with links to the articles."""
    cells = [cell for section in sections for cell in section.cells]
    return _template("page.html.jinja").render(
        title=title,
        sections=sections,
        articles=articles,
        provenance=provenance(cells),
        failures=failures(cells),
        outdated=outdated(cells),
    )


def render_article(suite: str, article: Article) -> str:
    """A page beside it, in the same frame; `suite` is what index.html is called."""
    page = _template("article.html.jinja")
    return page.render(title=article.title, suite=suite, article=article)


def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(data_uri=data_uri)
    return environment.get_template(name)


def data_uri(figure: Drawing) -> str:
    """The figure as an address that holds it whole."""
    media_type = _MEDIA_TYPES[Path(figure.file_name).suffix]
    return f"data:{media_type};base64,{base64.b64encode(figure.content).decode()}"


def failures(cells: Iterable[Cell]) -> list[tuple[str, str, int, str, str]]:
    """(data set, model, seed, what failed, reason) of every failed cell and failed metric."""
    labels = {metric.name: metric.label for metric in METRICS}
    found = []
    for cell in cells:
        where = (cell.identity.dataset, cell.identity.model, cell.identity.seed)
        if cell.failure:
            found.append((*where, "the model", one_line(cell.failure)))
        for result in cell.results:
            if result.status == "failed" and not cell.failure:
                metric = labels.get(result.question.metric, result.question.metric)
                found.append((*where, metric, one_line(result.reason or "")))
    return sorted(found)


def provenance(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """What all values rest on: (label, the distinct values of all cells)."""
    settings = [result.question.settings for cell in cells for result in cell.results]
    sizes = sorted({every["samples"] for every in settings if "samples" in every})
    seeds = sorted({cell.identity.seed for cell in cells})
    budgets = sorted({cell.identity.budget for cell in cells})
    facts: dict[str, list[str]] = {}
    for label, value in (fact for cell in cells for fact in _flat(cell.provenance)):
        facts.setdefault(label, []).append(value)
    return [
        ("training seeds", ", ".join(map(str, seeds))),
        ("budget", ", ".join(f"{budget:g}" for budget in budgets)),
        ("samples (n)", ", ".join(map(count, sizes))),
        *((label, _joined(facts[label])) for label in sorted(facts)),
    ]


def _flat(facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield key, ", ".join(f"{name} {part}" for name, part in sorted(value.items()))
        elif value is not None:
            yield key.replace("_", " "), str(value)


def _joined(values: Sequence[str]) -> str:
    distinct = sorted(set(values), key=lambda text: (len(text), text))
    if len(distinct) > _MOST_VALUES:
        return f"{len(distinct)} different values"
    return "; ".join(distinct)
