"""The simulations that judge error bars, p-values and verdicts; the slow ones run them in full."""

import json

import pytest
import torch
from rich.console import Console

from benchmark.calibration import findings, studies, truth
from benchmark.calibration.calibrate import calibrate
from benchmark.calibration.populations import GENERATED, REAL, Gaussian, evidence
from benchmark.calibration.simulate import load_repeats, simulate
from benchmark.calibration.studies import BY_NAME, NOT_SIMULATED, STUDIES, Study, Verdicts
from benchmark.errors import UserError
from benchmark.metrics.base import OF_SAMPLES, NotApplicable
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.kernels import GaussianMixture, median_distance
from benchmark.metrics.kid import kernel_distance
from benchmark.metrics.mmd import squared_mmd
from benchmark.randomness import generator

SMALL = Study("small", "intervals", ("fid", "mmd"), n=30, repeats=6)
LEVELS = Study("levels", "p-values", ("nn_p",), n=20, repeats=6)


def counting(study, calls):
    """The study, with every number that it computes put down in `calls`."""

    class Counting:
        name, repeats, question = study.name, study.repeats, study.question

        def repeat(self, number):
            calls.append(number)
            return study.repeat(number)

    return Counting()


def ignore(study, done):
    pass


# What is true


def huge_sets(n=20_000):
    drawn = generator("test of the truth")
    return REAL.sample(n, drawn), GENERATED.sample(n, drawn)


def test_the_true_frechet_distance_is_that_of_huge_samples():
    real, generated = huge_sets(60_000)
    expected = frechet_distance(real=real, generated=generated)
    assert truth.true_frechet(REAL, GENERATED) == pytest.approx(expected, rel=0.01)


def test_the_true_kid_is_that_of_huge_samples():
    real, generated = huge_sets(60_000)
    found = kernel_distance(real=real, generated=generated, seed=0)
    assert truth.true_kid(REAL, GENERATED) == pytest.approx(found.value, rel=0.03)


def test_the_third_moments_are_those_of_huge_samples():
    for population, drawn in zip((REAL, GENERATED), huge_sets(100_000), strict=True):
        third = truth._moments(population)[2][0]
        expected = torch.einsum("ni,nj,nk->ijk", drawn, drawn, drawn) / len(drawn)
        torch.testing.assert_close(third, expected, atol=0.05, rtol=0)


def test_the_true_mmd_is_that_of_huge_samples():
    real, generated = huge_sets(4_000)
    bandwidth = median_distance(real)
    assert truth._median_distance() == pytest.approx(bandwidth, rel=0.02)
    kernel = GaussianMixture(bandwidth)
    expected = squared_mmd(real=real, generated=generated, kernel=kernel)
    assert truth.true_mmd(REAL, GENERATED) == pytest.approx(expected, rel=0.1)


def test_populations_are_sampled_with_their_mean_and_covariance():
    drawn = GENERATED.sample(50_000, generator("test of a population"))
    torch.testing.assert_close(drawn.mean(dim=0), GENERATED.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), GENERATED.covariance, atol=0.03, rtol=0)


def test_every_sample_metric_with_an_interval_is_simulated():
    studied = {name for study in STUDIES if isinstance(study, Study) for name in study.metrics}
    drawn = evidence(GENERATED, 200, "test of the list")
    for metric in BY_NAME.values():
        if metric.table not in OF_SAMPLES or metric.name in studied:
            continue
        try:
            measured = metric.measure(drawn)
        except NotApplicable:
            continue
        assert measured.low is None or metric.name in NOT_SIMULATED, metric.name


# Running


def test_repeats_are_the_same_in_one_process_and_in_two(tmp_path):
    simulate([SMALL], tmp_path / "one", 1, ignore)
    simulate([SMALL], tmp_path / "two", 2, ignore)
    files = [(tmp_path / name / "small.json").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    assert len(load_repeats(SMALL, tmp_path / "one")) == 6


def test_what_is_kept_is_not_computed_again(tmp_path):
    first, second = [], []
    simulate(
        [counting(Study("small", "intervals", ("fid", "mmd"), 30, 4), first)], tmp_path, 1, ignore
    )
    simulate([counting(SMALL, second)], tmp_path, 1, ignore)
    assert (first, second) == ([0, 1, 2, 3], [4, 5])


def test_repeats_of_another_question_are_computed_again(tmp_path):
    simulate([SMALL], tmp_path, 1, ignore)
    assert load_repeats(Study("small", "intervals", ("fid", "mmd"), 31, 6), tmp_path) == {}


def test_repeats_of_other_populations_are_computed_again(tmp_path, monkeypatch):
    simulate([SMALL], tmp_path, 1, ignore)
    moved = Gaussian(GENERATED.mean + 1, GENERATED.root)
    monkeypatch.setattr(studies, "GENERATED", moved)
    assert load_repeats(SMALL, tmp_path) == {}


def test_repeats_differ():
    values = {SMALL.repeat(number)["fid"][0] for number in range(3)}
    assert len(values) == 3


def test_a_calibration_leaves_a_page_a_table_and_a_figure(tmp_path, capsys):
    found = calibrate(Console(width=200), tmp_path, workers=1, studies=(SMALL, LEVELS))
    page = (tmp_path / "calibration.md").read_text()
    assert page in capsys.readouterr().out
    assert "| fid | 30 | 6 | closed form | 1.496 |" in page
    assert (tmp_path / "calibration.svg").read_text().startswith("<?xml")
    rows = json.loads((tmp_path / "calibration.json").read_text())
    assert [row["metric"] for row in rows["covered"]] == ["fid", "mmd"]
    assert rows["uniform"][0]["distance"] == found.uniform[0].distance
    before = {path.name: path.read_bytes() for path in tmp_path.glob("calibration.*")}
    calibrate(Console(width=200), tmp_path, workers=1, studies=(SMALL, LEVELS))
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("calibration.*")}


def test_a_study_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(UserError, match="no study named 'fids'; did you mean 'fid'"):
        calibrate(Console(), tmp_path, ["fids"])


# Judging


def as_repeats(rows):
    return {number: {"thing": row} for number, row in enumerate(rows)}


def test_coverage_counts_the_intervals_that_hold_the_mean():
    rows = [(1.0, 0.5, 1.5)] * 90 + [(1.0, 1.1, 1.5)] * 4 + [(1.0, 0.5, 0.9)] * 6
    found = findings.coverage("thing", 10, as_repeats(rows))
    assert (found.share, found.true_value, found.truth) == (0.9, 1.0, "mean of repeats")
    assert not found.holds
    assert 0.82 < found.low < 0.9 < found.high < 0.96


def test_a_known_truth_stands_instead_of_the_mean():
    rows = {number: {"fid": (9.0, 1.0, 10.0)} for number in range(20)}
    found = findings.coverage("fid", 10, rows)
    assert found.truth == "closed form"
    assert found.true_value == truth.true_frechet(REAL, GENERATED)


@pytest.mark.parametrize(("power", "holds"), [(1.0, True), (1.4, False), (0.7, False)])
def test_p_values_that_lean_either_way_are_found_out(power, holds):
    rows = [((step + 0.5) / 500) ** power for step in range(500)]
    found = findings.uniformity("thing", 10, as_repeats((p, None, None) for p in rows))
    assert found.holds is holds
    # The largest distance of t^(1/power) from t, by calculus.
    if power != 1.0:
        best = power ** (power / (1 - power))
        expected = abs(best - best ** (1 / power))
        assert found.distance == pytest.approx(expected, abs=0.005)


def test_a_repeat_with_any_verdict_is_a_false_one():
    clear, false = (0.5, 0.9, 0.0), (0.001, 0.01, 1.0)
    rows = {n: {"a": clear, "b": false if n < 3 else clear} for n in range(40)}
    found = findings.falsehood(["points"], rows)
    assert (found.share, found.metrics, found.holds) == (3 / 40, 2, False)
    assert 0.02 < found.low < 3 / 40 < found.high < 0.2


# The promises


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return calibrate(Console(quiet=True), tmp_path_factory.mktemp("calibration"))


@pytest.mark.slow
def test_p_values_between_equal_populations_are_uniform(full):
    assert {found.metric for found in full.uniform} == {"mmd_p", "c2st_p", "nn_p"}
    assert all(len(found.p_values) == 500 for found in full.uniform)
    assert [found.metric for found in full.uniform if not found.holds] == []


@pytest.mark.slow
def test_intervals_hold_the_true_value_as_often_as_they_say(full):
    assert [(found.metric, found.share) for found in full.covered if not found.holds] == []


@pytest.mark.slow
def test_a_model_is_seldom_better_than_itself(full):
    assert all(found.repeats == 200 for found in full.decided)
    assert [(found.settings, found.share) for found in full.decided if not found.holds] == []


@pytest.mark.slow
def test_comparisons_take_the_settings_in_turn():
    study = Verdicts("two", ("points", "images"), 2)
    points, images = study.repeat(0), study.repeat(1)
    assert "modes" in points
    assert "fid" in images
    for rows in (points, images):
        assert len(rows) > 8
        assert all(0 <= p <= corrected <= 1 for p, corrected, _ in rows.values())
