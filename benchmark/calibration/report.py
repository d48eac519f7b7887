"""What a calibration leaves: calibration.json, calibration.md and calibration.svg."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.calibration.figure import calibration_figure
from benchmark.calibration.findings import (
    COVERAGE,
    LEVEL,
    MOST_FALSE,
    Coverage,
    FalseVerdicts,
    Uniformity,
    coverage,
    falsehood,
    uniformity,
)
from benchmark.calibration.simulate import load_repeats
from benchmark.calibration.studies import NOT_SIMULATED, Study, Verdicts
from benchmark.store import write_atomically

Finding = Uniformity | Coverage | FalseVerdicts


@dataclass(frozen=True)
class Findings:
    """Everything that a calibration shows."""

    uniform: Sequence[Uniformity]
    covered: Sequence[Coverage]
    decided: Sequence[FalseVerdicts]

    @property
    def hold(self) -> bool:
        """Whether every promise is kept."""
        every: list[Finding] = [*self.uniform, *self.covered, *self.decided]
        return all(found.holds for found in every)


def findings(studies: Sequence[Study | Verdicts], kept: Path) -> Findings:
    """Reads the repeats and judges them."""
    uniform, covered, decided = [], [], []
    for study in studies:
        repeats = load_repeats(study, kept)
        if isinstance(study, Verdicts):
            decided.append(falsehood(study.settings, repeats))
        elif study.kind == "p-values":
            uniform += [uniformity(name, study.n, repeats) for name in study.metrics]
        else:
            covered += [coverage(name, study.n, repeats) for name in study.metrics]
    return Findings(uniform, covered, decided)


def write(found: Findings, folder: Path) -> None:
    """Leaves the three files; the same findings give the same bytes."""
    figure = calibration_figure(found.uniform, found.covered)
    write_atomically(folder / "calibration.svg", figure)
    write_atomically(folder / "calibration.md", as_markdown(found).encode())
    write_atomically(folder / "calibration.json", _as_json(found).encode())


def as_markdown(found: Findings) -> str:
    """A page with a table of each kind."""
    parts = ["# Calibration", *_uniform_part(found.uniform), *_covered_part(found.covered)]
    return "\n\n".join([*parts, *_decided_part(found.decided)]) + "\n"


def _uniform_part(uniform: Sequence[Uniformity]) -> list[str]:
    rows = [
        (
            f.metric,
            f"{f.n:,}",
            f"{len(f.p_values)}",
            f"{f.distance:.3f}",
            f"{f.chance:.3f}",
            _yes(f),
        )
        for f in uniform
    ]
    return [
        "## P-values of equal populations",
        "Both sets are drawn from one normal distribution in four dimensions. The distance from "
        "uniform p-values is Kolmogorov and Smirnov's, the chance that of so large a distance; "
        f"asked for: {LEVEL} or more.",
        _table(("test", "n", "repeats", "distance", "chance", "holds"), rows),
    ]


def _covered_part(covered: Sequence[Coverage]) -> list[str]:
    rows = [
        (
            f.metric,
            f"{f.n:,}",
            f"{f.repeats:,}",
            f.truth,
            f"{f.true_value:.4g}",
            f"{100 * f.share:.1f} ({100 * f.low:.1f} to {100 * f.high:.1f})",
            _yes(f),
        )
        for f in covered
    ]
    low, high = (f"{100 * share:.0f}" for share in COVERAGE)
    return [
        "## How often 95 % intervals hold the true value",
        "The sets are drawn from two different normal distributions in four dimensions. Where a "
        "metric is biased at finite n, and so compares only at equal n, its true value is the "
        f"expectation at that n: the mean of all repeats. Asked for: {low} to {high} %.",
        _table(("metric", "n", "repeats", "truth", "true value", "coverage, %", "holds"), rows),
        "![P-values and coverages](calibration.svg)",
        "Not simulated:",
        "\n".join(f"- {name}: {reason}" for name, reason in NOT_SIMULATED.items()),
    ]


def _decided_part(decided: Sequence[FalseVerdicts]) -> list[str]:
    rows = [
        (
            f.settings,
            str(f.repeats),
            str(f.metrics),
            f"{100 * f.share:.1f} ({100 * f.low:.1f} to {100 * f.high:.1f})",
            _yes(f),
        )
        for f in decided
    ]
    return [
        "## Verdicts between a model and itself",
        "Two sets of samples of one model are compared as `compare` does; any verdict for any "
        f"metric is a false one. Asked for: at most {100 * MOST_FALSE:.0f} %.",
        _table(("data", "repeats", "metrics", "false verdicts, %", "holds"), rows),
    ]


def _yes(found: Finding) -> str:
    return "yes" if found.holds else "**no**"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _as_json(found: Findings) -> str:
    rows = {
        kind: [{**_without_p_values(each), "holds": each.holds} for each in group]
        for kind, group in vars(found).items()
    }
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _without_p_values(found: object) -> dict[str, object]:
    """The fields; p-values stay in the file of the repeats."""
    return {name: value for name, value in vars(found).items() if name != "p_values"}
