"""The README is true: its model runs as printed, its tables are the stored ones."""

import re
from pathlib import Path

import pandas as pd
import pytest
from cli_tools import Program

from benchmark.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def own_model():
    (text,) = re.findall(r"<!-- own model -->\n```python\n(.*?)```", README, re.DOTALL)
    return text


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(own_model())
    return Program(tmp_path, monkeypatch, capsys)


def test_the_own_model_is_complete_in_25_lines():
    assert len(own_model().splitlines()) <= 25
    compile(own_model(), "my_model.py", "exec")


@pytest.mark.parametrize("data", ["digits", "ring"])
def test_the_own_model_keeps_its_promises(program, data):
    status, out, _ = program("check", "my_model.py:FullGaussian", "--data", data)
    assert status == 0, out


def test_the_own_model_appears_in_the_table(program):
    status, _, err = program.all("--model", "my_model.py:FullGaussian", "--models", "noise")
    assert status == 0, err
    table = pd.read_csv(program.report / "results.csv")
    row = table[(table.model == "FullGaussian") & (table.metric == "nll")].iloc[0]
    assert row.meaning == "upper bound"
    assert "FullGaussian" in (program.report / "tables" / "likelihood_ring.md").read_text()


def test_every_command_and_option_in_the_readme_exists():
    used = re.findall(r"^python -m benchmark (\w+)(.*)$", README, re.MULTILINE)
    assert len(used) >= 5
    import typer.main

    commands = typer.main.get_command(app).commands
    for command, rest in used:
        known = {name for parameter in commands[command].params for name in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known


def test_tables_in_the_readme_are_those_of_the_reports():
    blocks = re.findall(r"<!-- table: (\S+) -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    assert blocks
    for path, printed in blocks:
        stored = (ROOT / path).read_text(encoding="utf-8")
        rows = [line for line in stored.splitlines() if line.startswith(("|", "- "))]
        assert printed.splitlines() == rows, f"{path} moved: copy it into the README again"


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target


def test_printed_outputs_are_those_of_the_commands(program):
    printed = re.findall(r"<!-- output: (.*?) -->\n```text\n(.*?)\n```", README, re.DOTALL)
    assert printed
    for command, text in printed:
        status, out, err = program(*command.split(), "--out", str(ROOT / "reports"))
        assert status == 0, err
        assert [line.rstrip() for line in out.strip().splitlines()] == text.splitlines()
