"""What a report says of each data set, made side by side where there is much of it."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from benchmark.report.contents import datasets_of
from benchmark.report.figures import Drawing
from benchmark.report.layout import Table
from benchmark.report.page import Section
from benchmark.report.published import PublishedValue
from benchmark.report.tables import build_tables
from benchmark.store import Cell

MANY = 100  # cells from which on processes are worth their start
MOST_PROCESSES = 8  # each holds all cells

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Material:
    """What sections are made from.

    Args:
        cells: of one protocol, of all data sets.
        models: the order of rows.
        published: values of papers.
    """

    cells: Sequence[Cell]
    models: Sequence[str]
    published: Sequence[PublishedValue]

    def made(self, dataset: str) -> tuple[list[Table], list[Drawing]]:
        """Tables and figures of a data set."""
        its = datasets_of(self.cells, ())[dataset]
        papers = [each for each in self.published if each.dataset == dataset]
        return (
            build_tables(dataset, its, self.models, papers),
            _figures(dataset, its, self.models, self.cells),
        )


def build_sections(
    material: Material, datasets: Sequence[str], progress: Progress
) -> list[Section]:
    """A section for each data set, in order; on all cores where there are MANY cells.

    Args:
        material: what they are made from.
        datasets: the order; those that it does not name follow as they come in the cells.
        progress: told of (data sets done, data sets in all).
    """
    by_dataset = datasets_of(material.cells, datasets)
    progress(0, len(by_dataset))
    workers = min(os.cpu_count() or 1, len(by_dataset), MOST_PROCESSES)
    if workers < 2 or len(material.cells) < MANY:
        made = {}
        for done, dataset in enumerate(by_dataset, start=1):
            made[dataset] = material.made(dataset)
            progress(done, len(by_dataset))
    else:
        made = _side_by_side(material, list(by_dataset), workers, progress)
    return [Section(dataset, its, *made[dataset]) for dataset, its in by_dataset.items()]


def _side_by_side(
    material: Material, datasets: Sequence[str], workers: int, progress: Progress
) -> dict[str, tuple[list[Table], list[Drawing]]]:
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, _Worker.receive, (material,)) as pool:
        futures = {pool.submit(_Worker.make, dataset): dataset for dataset in datasets}
        made = {}
        for future in as_completed(futures):
            made[futures[future]] = future.result()
            progress(len(made), len(datasets))
    return made


class _Worker:
    """A process that makes sections; it is sent the cells once, not with each data set."""

    material: Material

    @classmethod
    def receive(cls, material: Material) -> None:
        cls.material = material

    @classmethod
    def make(cls, dataset: str) -> tuple[list[Table], list[Drawing]]:
        return cls.material.made(dataset)


def _figures(
    dataset: str, cells: Sequence[Cell], models: Sequence[str], all_cells: Sequence[Cell]
) -> list[Drawing]:
    """What a data set's part of the page shows, as far as its cells hold it."""
    from benchmark.report.class_figure import class_figure
    from benchmark.report.completions import completions_figure
    from benchmark.report.coverage_curves import coverage_figure
    from benchmark.report.curves import curves_figure
    from benchmark.report.figures import samples_figure
    from benchmark.report.neighbours import neighbours_figure
    from benchmark.report.sandwich import sandwich_figure
    from benchmark.report.spectra import spectra_figure
    from benchmark.report.strips import strip_figures

    of_samples = (samples_figure, completions_figure, spectra_figure, neighbours_figure)
    of_training = (coverage_figure, curves_figure)
    drawn = [
        sandwich_figure(dataset, cells, models),
        class_figure(dataset, all_cells, models),
        *(make(dataset, cells, models) for make in of_samples),
        *strip_figures(dataset, cells, models),
        *(make(dataset, cells, models) for make in of_training),
    ]
    return [figure for figure in drawn if figure is not None]
