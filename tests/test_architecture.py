"""What imports what, and what start-up must not pay for."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def imports_of(folder):
    return {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path)
    }


def test_the_instrument_never_imports_the_models():
    assert not [pair for pair in imports_of("benchmark") if pair[1].split(".")[0] == "zoo"]


def test_models_know_only_the_contract_of_the_instrument():
    known = {name for _, name in imports_of("zoo") if name.startswith("benchmark")}
    assert known == {"benchmark.spec"}


def test_the_contract_imports_nothing_but_torch():
    names = {name.split(".")[0] for _, name in imports_of("benchmark") if _ == "benchmark/spec.py"}
    assert names <= {"collections", "math", "dataclasses", "pathlib", "typing", "torch"}


def test_the_report_reads_stored_results_and_the_metrics_table_only():
    allowed = ("benchmark.report", "benchmark.store", "benchmark.metrics", "benchmark.errors")
    allowed += ("benchmark.randomness",)  # of the bootstrap
    for path, name in imports_of("benchmark/report"):
        assert not name.startswith("benchmark") or name.startswith(allowed), (path, name)


def test_the_command_line_starts_without_the_heavy_libraries():
    heavy = ["torch", "lightning", "sklearn", "matplotlib", "pandas", "torchvision", "ot"]
    code = f"import sys, benchmark.cli; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
