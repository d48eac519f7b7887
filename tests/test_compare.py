import math
from dataclasses import replace

import numpy as np
import pytest
from cli_tools import Program
from factories import cell, result

from benchmark import store, verdicts
from benchmark.manifest import DataConditions, Manifest
from benchmark.metrics import METRICS
from benchmark.plan import question
from benchmark.verdicts import compare_cells

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
    assert "ring: seeds: 1 and 1; n: 60" in out
    assert "digits: seeds: 2 and 2; n: 60" in out
    assert out.count("<0.001  pixelcnn_pp\n") == 3
    assert "(Benjamini-Hochberg)" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    digits = out[out.index("digits:") :]
    in_nats, in_bits = (
        float(next(line for line in digits.splitlines() if name in line).split()[column][1:])
        for name, column in (("NLL, nats", 3), ("bits/dim", 2))
    )
    assert in_bits == pytest.approx(in_nats / (64 * math.log(2)), rel=0.01)


def test_one_data_set_can_be_asked_for(program):
    _, out, _ = run(program, "pixelcnn_pp", "gmm", "--data", "digits")
    assert "ring" not in out
    assert "digits" in out


def test_a_bound_is_named_and_a_data_set_without_values_says_why(program):
    status, out, _ = run(program, "pixelcnn_pp", "vae")
    assert status == 0
    assert "ring: nothing to compare" in out
    assert "(vae: not run)" in out
    assert "digits: seeds: 2 and 1; n: 40" in out
    assert "∞" in out
    assert out.count("undecided") == 2
    assert "vae has an upper bound only" in out
    assert "vae has one seed" in out


def test_the_gap_of_a_sandwich_widens_the_interval(monkeypatch):
    gap = replace(METRIC["nll"], name="bdmc_gap", version=1)
    monkeypatch.setitem(verdicts._METRICS, "bdmc_gap", gap)
    values = 90 + np.random.default_rng(9).random(60)
    bounded = nll("digits", values + 5, "sandwich")
    cells = [
        cell("digits", "gmm", 0, [nll("digits", values)]),
        cell("digits", "vae", 0, [bounded, result("bdmc_gap", 0.75, standard_error=0.0)]),
    ]
    nats, bits = compare_cells(cells, "gmm", "vae").rows
    assert nats.difference == pytest.approx(-5, abs=1e-4)
    assert (nats.low, nats.high) == pytest.approx((-5, -4.25), abs=1e-4)
    assert nats.verdict == bits.verdict == "gmm"
    assert any("up to 0.75 nats below" in remark for remark in nats.remarks)


def with_samples(program, model, seed, values):
    """The stored cell with results of FID and recall besides what it has."""
    path = program.report / "results" / f"digits_{model}_seed{seed}.json"
    whole = store.load(path)
    for name, value in values.items():
        halves = {"values": [value - 0.01, value, value + 0.01], "share": 0.5}
        found = replace(answered(name, "digits", value=value, standard_error=0.01), n=100)
        whole = whole.with_result(replace(found, details={"half_samples": halves}))
    store.save(whole, path.parent)


def test_sample_metrics_stand_beside_likelihoods_with_arrows_and_sizes(program):
    for seed in (0, 1):
        with_samples(program, "pixelcnn_pp", seed, {"fid": 3.0 + 0.01 * seed, "recall": 0.4})
        with_samples(program, "gmm", seed, {"fid": 9.0 - 0.01 * seed, "recall": 0.8})
    status, out, err = run(program, "pixelcnn_pp", "gmm", "--data", "digits")
    assert status == 0, err
    rows = {line.split()[0]: line.split() for line in out.splitlines() if "<0.001" in line}
    assert (rows["FID"][1], rows["FID"][-1]) == ("↓", "pixelcnn_pp")
    assert (rows["Recall"][1], rows["Recall"][-1]) == ("↑", "gmm")
    assert "n: 60, 100 for FID and Recall" in out
    assert "(pixelcnn_pp: not measured yet)" in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_metric_measured_in_fewer_seeds_says_so(program):
    with_samples(program, "pixelcnn_pp", 0, {"fid": 3.0})
    with_samples(program, "gmm", 0, {"fid": 3.0})
    _, out, _ = run(program, "pixelcnn_pp", "gmm", "--data", "digits")
    assert "FID: measured in 1 and 1 seeds." in out


def test_the_same_results_give_the_same_text(program):
    assert run(program, "vae", "gmm") == run(program, "vae", "gmm")


def test_values_without_single_examples_are_not_compared(program):
    path = program.report / "results" / "digits_vae_seed0.json"
    whole = store.load(path)
    bare = replace(whole.results[0], per_example=None)
    store.save(replace(whole, results=(bare,)), path.parent)
    status, _, err = run(program, "gmm", "vae", "--data", "digits")
    assert status == 2
    assert "no NLL of vae: values of single examples are not stored" in err


MISTAKES = [
    (["pixelcnn", "gmm"], "no model named 'pixelcnn'; did you mean 'pixelcnn_pp'?"),
    (["gmm", "zzz"], "no model named 'zzz'; known: gan, gmm"),
    (["gmm", "gmm"], "'gmm' was given twice"),
    (["gmm", "vae", "--data", "digts"], "no data set named 'digts'; did you mean 'digits'?"),
    (["gmm", "gan"], "on ring, digits, no NLL of gan: it has no log_prob"),
    (["vae_gan", "gmm"], "on ring, digits, no NLL of vae_gan: not run"),
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
    assert "in every metric and on the same real data" in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines())
