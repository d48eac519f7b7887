import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from cli_tools import TOYS, Program

from benchmark.metrics import METRICS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    return Program(tmp_path, monkeypatch, capsys)


def stored(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def numbers(folder):
    table = pd.read_csv(folder / "results.csv")
    table = table[~table.metric.isin(["train_seconds", "samples_per_second", "peak_memory"])]
    return table.drop(columns="seconds").to_csv()


def test_all_measures_reports_and_has_nothing_to_do_the_second_time(program):
    status, out, err = program.all()
    assert status == 0, err
    assert "3 cells, 0 done already" in out
    table = pd.read_csv(program.report / "results.csv")
    assert set(table.metric) == {metric.name for metric in METRICS}
    assert set(table.model) == {"quick", "data", "noise"}
    before = stored(program.report)

    status, out, _ = program.all()
    assert status == 0
    assert "3 cells, 3 done already" in out
    assert stored(program.report) == before

    assert program("report", "--suite", "small", "--out", program.folder / "reports")[0] == 0
    assert stored(program.report) == before


def test_results_of_another_machine_are_measured_anew_unless_reused(program):
    import shutil

    program.all("--models", "noise,data")
    shutil.rmtree(program.folder / "runs")
    _, out, _ = program.all("--models", "noise,data", "--reuse")
    assert "2 cells, 2 done already" in out
    _, out, _ = program.all("--models", "noise")
    assert "1 cells, 0 done already" in out
    assert set(pd.read_csv(program.report / "results.csv").model) == {"noise", "data"}


def test_a_new_model_seed_or_sample_count_is_all_that_is_run(program):
    program.all("--models", "noise,data")
    _, out, _ = program.all("--model", f"{TOYS}:Quick", "--models", "noise,data", "--seeds", "0,1")
    assert "6 cells, 2 done already" in out
    table = pd.read_csv(program.report / "results.csv")
    assert set(table.model) == {"noise", "data", "Quick"}

    _, out, _ = program.all("--models", "noise", "--samples", "60")
    assert "1 cells, 0 done already" in out
    table = pd.read_csv(program.report / "results.csv").set_index(["model", "metric", "seed"])
    assert table.loc[("noise", "mmd", 0), "n"] == 60


def test_the_training_set_as_reference_is_named_in_the_column(program):
    program.all("--models", "noise,data")
    _, out, _ = program.all("--models", "noise,data", "--reference", "train")
    assert "2 cells, 0 done already" in out
    head = (program.report / "tables" / "sample_quality_ring.md").read_text()
    assert "against train, n = 100" in head


def test_cells_that_fail_are_named_at_the_end_and_the_others_are_there(program):
    suite = program.suite.read_text()
    for name in ("Diverges", "Dies"):
        suite += f'[[models]]\nname = "{name}"\nfactory = "{TOYS}:{name}"\n'
    program.suite.write_text(suite)
    status, _, err = program.all()
    assert status == 1
    assert "failed: ring Diverges seed 0: FloatingPointError: loss became nan at step 7" in err
    assert "failed: ring Dies seed 0: its process died (signal 9)" in err
    table = pd.read_csv(program.report / "results.csv")
    assert (table[table.model == "Diverges"].status == "failed").all()
    assert "measured" in set(table[table.model == "quick"].status)


def test_every_library_has_one_thread_in_a_cell(program):
    status, _, err = program.all("--model", f"{TOYS}:WantsOneThread", "--models", "noise")
    assert (status, err) == (0, "")


def start(folder, suite):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmark", "all", "--suite", suite, "--models", "slow"),
            *("--workers", "2", "--out", folder / "reports", "--runs", folder / "runs"),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(program, tmp_path):
    entry = f'[[models]]\nname = "slow"\nfactory = "{TOYS}:Quick"\nsettings = {{ steps = 4000 }}\n'
    program.suite.write_text(program.suite.read_text() + entry)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole, program.suite).wait(timeout=120) == 0

    victim = start(killed, program.suite)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        losses = list(killed.rglob("losses.csv"))
        if losses and losses[0].stat().st_size > 30_000:
            break
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (killed / "reports" / "small" / "results.csv").exists()
    time.sleep(1)
    size = losses[0].stat().st_size
    time.sleep(0.5)
    assert losses[0].stat().st_size == size  # its workers died with it

    assert start(killed, program.suite).wait(timeout=120) == 0
    assert numbers(killed / "reports" / "small") == numbers(whole / "reports" / "small")


MISTAKES = [
    (["all", "--suite", "quik"], "no suite named 'quik'; did you mean 'quick'?"),
    (["all", "--models", "van"], "no model named 'van'; did you mean 'vae'?"),
    (["all", "--datasets", "digts"], "no data set named 'digts'; did you mean 'digits'?"),
    (["all", "--datasets", "nowhere.npz"], "no data at nowhere.npz"),
    (["all", "--seeds", "0,x"], "--seeds takes whole numbers"),
    (["all", "--budget", "0"], "--budget must be positive, got 0"),
    (["all", "--budget", "much"], "'--budget'"),
    (["all", "--samples", "401", "--datasets", "digits"], "give --samples 400 or fewer"),
    (["all", "--device", "tpu"], "no device named 'tpu'"),
    (["all", "--model", "missing.py:Mine"], "no file missing.py"),
    (["all", "--nothing"], "No such option: --nothing"),
    (["report", "--suite", "never"], "no results in"),
    (["compare", "vae", "gan", "--suite", "never"], "no results in"),
    (["compare", "vae"], "Missing argument 'B'"),
    (["check", "zoo.gan:Gan"], "did you mean 'GAN'?"),
    (["score", "missing.npz", "--data", "digits"], "missing.npz"),
    (["score", "missing.npz", "--data", "digitz"], "did you mean 'digits'?"),
    (["frobnicate"], "No such command 'frobnicate'"),
]


@pytest.mark.parametrize(("arguments", "complaint"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_line_and_exit_status_two(program, arguments, complaint, monkeypatch):
    monkeypatch.chdir(program.folder)
    status, _, err = program(*arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_missing_real_data_say_what_was_looked_for_and_how_to_get_it(program, monkeypatch):
    import urllib.error

    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    root = program.folder / "nothing"
    status, _, err = program("all", "--suite", "mnist", "--data-root", root)
    assert status == 2
    assert f"mnist: looked for {root / 'MNIST' / 'raw'}" in err
    assert "--data-root DIR or BENCHMARK_DATA=DIR" in err
    assert err.count("\n") == 1


COMMANDS = ("all", "report", "compare", "list", "check", "score", "speed", "calibrate")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_explains_every_command_and_option(program, command):
    status, out, _ = program(*command, "--help")
    assert status == 0
    assert len(out.splitlines()) > 10
    assert all(len(line) <= 80 for line in out.splitlines())
    assert not re.search(r"--[a-z-]+ +<[a-z]+> *│", out)  # an option without a word of help


def test_help_lists_every_command_with_a_word_on_it(program):
    out = program("--help")[1]
    for name in COMMANDS:
        assert re.search(rf"^│ {name} +[A-Z]\w+", out, re.MULTILINE), name


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("models", "wgan_gp"),
        ("metrics", "inception_score"),
        ("data", "fashion_mnist"),
        ("suites", "quick"),
    ],
)
def test_list_shows_what_there_is(program, what, line):
    status, out, _ = program("list", what)
    assert status == 0
    assert line in out
    assert line in program("list")[1]


def test_check_tells_kept_promises_from_broken_ones(program, tmp_path):
    status, out, _ = program("check", "zoo.ppca:PPCA", "--data", "ring")
    assert status == 0
    assert "Every promise that could be checked is kept" in out
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import torch\n"
        "class Bad:\n"
        "    def __init__(self, spec): self.spec = spec\n"
        "    def sample(self, n): return torch.rand(n, *self.spec.shape)\n"
        "    def log_prob(self, x): return torch.ones(len(x))\n"
    )
    status, out, _ = program("check", f"{bad}:Bad")
    assert status == 1
    assert out.count("BROKEN") == 2
    assert "2 broken" in out


def test_two_runs_at_once_do_not_share_a_folder(program):
    from benchmark.launch import exclusive

    with exclusive(program.folder / "runs" / "small"):
        status, _, err = program.all()
    assert status == 2
    assert "another run is at work" in err


def test_a_full_disk_is_one_line_and_loses_nothing(program, monkeypatch):
    program.all()
    before = stored(program.report / "results")

    def full(*_):
        raise OSError(28, "No space left on device", "reports")

    monkeypatch.setattr(os, "replace", full)
    status, _, err = program.all("--models", "noise", "--samples", "50")
    assert status == 2
    assert "No space left on device" in err
    assert stored(program.report / "results") == before
