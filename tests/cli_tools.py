"""Running the command line inside the tests' own process."""

import sys
from pathlib import Path

TOYS = Path(__file__).parent / "toy_models.py"

SUITE = f"""
title = "Small"
description = "for the tests"
seeds = [0]
[[datasets]]
name = "ring"
samples = 100
examples = 50
[[models]]
name = "quick"
factory = "{TOYS}:Quick"
[[models]]
name = "data"
factory = "zoo.baselines:HeldOutData"
role = "ceiling"
[[models]]
name = "noise"
factory = "zoo.baselines:Noise"
role = "floor"
"""


class Program:
    """`python -m benchmark ...` with its folders under one temporary one."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        self.suite = folder / "small.toml"
        self.suite.write_text(SUITE)
        self.report = folder / "reports" / "small"

    def __call__(self, *arguments):
        """Gives exit status, standard output and standard error."""
        from benchmark.cli import run

        self._monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        self._monkeypatch.setenv("COLUMNS", "80")
        try:
            run()
        except SystemExit as ended:
            status = ended.code or 0
        captured = self._capsys.readouterr()
        return status, captured.out, captured.err

    def all(self, *arguments):
        return self(
            "all", "--suite", self.suite, "--out", self.folder / "reports",
            "--runs", self.folder / "runs", "--workers", 2, *arguments,
        )  # fmt: skip
