import math
from dataclasses import replace

import numpy as np
import pytest
from cli_tools import Program
from factories import cell, result

from benchmark import compare, store
from benchmark.manifest import DataConditions, Manifest
from benchmark.metrics import METRICS
from benchmark.run import question

CONDITIONS = {
    "ring": DataConditions(samples=100, examples=60, network=None),
    "digits": DataConditions(samples=100, examples=60, network="digits-cnn"),
}
MODELS = ("pixelcnn_pp", "gmm", "vae", "vae_gan", "gan")
METRIC = {metric.name: metric for metric in METRICS}


def answered(metric, dataset, **given):
    asked = question(METRIC[metric], CONDITIONS[dataset].conditions())
    return replace(result(metric, **given), question=asked)


def nll(dataset, values, meaning="exact"):
    found = answered("nll", dataset, value=float(values.mean()), meaning=meaning)
    return replace(found, per_example=values.astype(np.float32), n=len(values))


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """A suite of two data sets: exact values of two models, a bound and samples of others."""
    rng = np.random.default_rng(7)
    none = "it has no log_prob, bound or decoder"
    cells = []
    for dataset, seed in (("ring", 0), ("digits", 0), ("digits", 1)):
        values = 90 + 10 * rng.random(60)
        cells += [
            cell(dataset, "pixelcnn_pp", seed, [nll(dataset, values - 12 - rng.random(60))]),
            cell(dataset, "gmm", seed, [nll(dataset, values)]),
            cell(dataset, "gan", seed, [answered("nll", dataset, reason=none)]),
        ]
    bound = nll("digits", 95 + rng.random(40), "upper bound")
    cells.append(cell("digits", "vae", 0, [bound]))
    program = Program(tmp_path, monkeypatch, capsys)
    Manifest(title="Small", description="", budget=1.0, models=MODELS, datasets=CONDITIONS).save(
        program.report
    )
    for each in cells:
        store.save(each, program.report / "results")
    return program


def run(program, *arguments):
    return program("compare", *arguments, "--suite", "small", "--out", program.folder / "reports")


def test_every_data_set_that_both_have_is_compared_in_80_columns(program):
    status, out, err = run(program, "pixelcnn_pp", "gmm")
    assert status == 0, err
    assert "ring: 60 examples; seeds: 1 and 1" in out
    assert "digits: 60 examples; seeds: 2 and 2" in out
    assert out.count("pixelcnn_pp better") == 3
    assert "interval that holds zero" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    in_nats, in_bits = (
        float(next(line for line in out.splitlines()[8:] if name in line).split()[column][1:])
        for name, column in (("NLL, nats", 2), ("bits/dim", 1))
    )
    assert in_bits == pytest.approx(in_nats / (64 * math.log(2)), rel=0.01)


def test_one_data_set_can_be_asked_for(program):
    _, out, _ = run(program, "pixelcnn_pp", "gmm", "--data", "digits")
    assert "ring" not in out
    assert "digits" in out


def test_a_bound_is_named_and_a_data_set_without_values_says_why(program):
    status, out, _ = run(program, "pixelcnn_pp", "vae")
    assert status == 0
    assert "ring: vae has no NLL of single examples: not run" in out
    assert "digits: 40 examples; seeds: 2 and 1" in out
    assert "∞" in out
    assert out.count("undecided") == 2
    assert "vae has an upper bound only" in out
    assert "vae has one seed" in out


def test_the_gap_of_a_sandwich_widens_the_interval(monkeypatch):
    gap = replace(METRIC["nll"], name="bdmc_gap", version=1)
    monkeypatch.setitem(compare._METRICS, "bdmc_gap", gap)
    values = 90 + np.random.default_rng(9).random(60)
    bounded = nll("digits", values + 5, "sandwich")
    cells = [
        cell("digits", "gmm", 0, [nll("digits", values)]),
        cell("digits", "vae", 0, [bounded, result("bdmc_gap", 0.75, standard_error=0.0)]),
    ]
    nats, bits = compare.compare_on(cells, "gmm", "vae")
    assert nats.difference == pytest.approx(-5, abs=1e-4)
    assert (nats.low, nats.high) == pytest.approx((-5, -4.25), abs=1e-4)
    assert nats.verdict == bits.verdict == "gmm better"
    assert any("up to 0.75 nats below" in remark for remark in nats.remarks)


def test_the_same_results_give_the_same_text(program):
    assert run(program, "vae", "gmm") == run(program, "vae", "gmm")


def test_values_without_single_examples_are_not_compared(program):
    path = program.report / "results" / "digits_vae_seed0.json"
    whole = store.load(path)
    bare = replace(whole.results[0], per_example=None)
    store.save(replace(whole, results=(bare,)), path.parent)
    status, _, err = run(program, "gmm", "vae", "--data", "digits")
    assert status == 2
    assert "they are not stored" in err


MISTAKES = [
    (["pixelcnn", "gmm"], "no model named 'pixelcnn'; did you mean 'pixelcnn_pp'?"),
    (["gmm", "zzz"], "no model named 'zzz'; known: gan, gmm"),
    (["gmm", "gmm"], "'gmm' was given twice"),
    (["gmm", "vae", "--data", "digts"], "no data set named 'digts'; did you mean 'digits'?"),
    (["gmm", "gan"], "on ring, digits, gan has no NLL of single examples: it has no log_prob"),
    (["vae_gan", "gmm"], "on ring, digits, vae_gan has no NLL of single examples: not run"),
    (["gmm"], "Missing argument"),
]


@pytest.mark.parametrize(("arguments", "complaint"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_line_and_exit_status_two(program, arguments, complaint):
    status, out, err = run(program, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_suite_without_results_says_what_to_run(program):
    status, _, err = program("compare", "gmm", "vae", "--out", program.folder)
    assert status == 2
    assert "no results in" in err
    assert "python -m benchmark all" in err


def test_help_says_what_is_compared(program):
    status, out, _ = program("compare", "--help")
    assert status == 0
    assert "same test examples" in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines())
