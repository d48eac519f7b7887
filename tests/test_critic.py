import math
from dataclasses import replace

import pytest
import torch
from sample_evidence import points_evidence
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from benchmark.metrics import critic
from benchmark.metrics.critic import critic_distance, distance, gap


@pytest.fixture
def brief(monkeypatch):
    """Training too short for an accurate value."""
    monkeypatch.setattr(critic, "STEPS", 30)


def halves(examples):
    return examples.tensor_split(2)


def between(real, generated, seed=0):
    (real, held_out_real), (generated, held_out_generated) = halves(real), halves(generated)
    return critic_distance(
        real=real,
        generated=generated,
        held_out_real=held_out_real,
        held_out_generated=held_out_generated,
        seed=seed,
    )


def exact(real, generated):
    """The 1-Wasserstein distance of two sets of one size, by assignment."""
    costs = cdist(real.numpy(), generated.numpy())
    return costs[linear_sum_assignment(costs)].mean()


def test_a_shift_in_the_plane_is_measured_at_its_length():
    shape, shift = torch.tensor([[1.2, 0.9], [-0.3, 0.5]]), torch.tensor([3.0, -4.0])
    real, generated = torch.randn(2_000, 2) @ shape + 9, torch.randn(2_000, 2) @ shape + 9 + shift
    assert between(real, generated).value == pytest.approx(5, rel=0.06)


def test_is_near_the_exact_distance_where_the_means_agree():
    real, generated = torch.randn(1_000, 2), torch.randn(1_000, 2) * 2
    found = between(real, generated)
    assert found.value == pytest.approx(exact(real, generated), abs=3 * found.standard_error)
    assert found.value > 10 * found.standard_error


def test_the_slope_that_the_penalty_leaves_is_divided_out():
    # At 64 units of a shift in 64 dimensions the penalty alone would leave a slope of 1.4.
    real, generated = torch.randn(200, 64), torch.randn(200, 64) * 0.1 + 8
    assert between(real, generated).value == pytest.approx(exact(real, generated), rel=0.05)


@pytest.mark.usefixtures("brief")
def test_keeps_to_the_unit_of_the_vectors():
    real, generated = torch.randn(200, 3), torch.randn(200, 3) + 1
    once, tenfold = between(real, generated), between(10 * real, 10 * generated)
    assert tenfold.value == pytest.approx(10 * once.value, rel=1e-2)
    assert tenfold.standard_error == pytest.approx(10 * once.standard_error, rel=1e-2)


def test_few_examples_in_many_dimensions_are_learnt_by_heart_and_show_as_a_gap():
    evidence = points_evidence(torch.randn(60, 64), torch.randn(60, 64))
    found, learnt = distance(evidence), gap(evidence)
    assert abs(found.value) < 4 * found.standard_error
    assert learnt.value > 5 * learnt.standard_error


@pytest.mark.usefixtures("brief")
def test_halves_that_trained_the_critic_have_no_part_in_the_value():
    real, generated = torch.randn(80, 2), torch.randn(80, 2) + 1
    evidence = points_evidence(real, generated)
    first = distance(evidence)
    (trained_r, held_out_r), (trained_g, held_out_g) = halves(real), halves(generated)
    swapped = replace(
        evidence,
        real=torch.cat([trained_r, held_out_g]),
        generated=torch.cat([trained_g, held_out_r]),
        shared={},
    )
    assert first.n == 40
    assert distance(swapped).value == pytest.approx(-first.value, rel=1e-6)


def test_error_is_that_of_two_means_of_held_out_values():
    critic_of_sums = lambda x: x.sum(dim=1)  # noqa: E731
    real, generated = torch.randn(50, 3), torch.randn(30, 3) * 2
    value, error = critic._difference(critic_of_sums, real, generated)
    sums = real.sum(dim=1), generated.sum(dim=1)
    assert value == pytest.approx((sums[0].mean() - sums[1].mean()).item(), rel=1e-5)
    expected = math.sqrt(sums[0].var().item() / 50 + sums[1].var().item() / 30)
    assert error == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("brief")
def test_both_metrics_come_from_one_critic_and_repeat():
    evidence = points_evidence(torch.randn(60, 2), torch.randn(60, 2) + 1, seed=3)
    again = replace(evidence, shared={})
    state = torch.get_rng_state()
    assert distance(evidence) == distance(again)
    assert len(evidence.shared) == 1
    assert gap(evidence) == gap(again)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("brief")
def test_coinciding_examples_are_at_no_distance():
    found = between(torch.ones(20, 3), torch.ones(20, 3))
    assert found.value == 0
    assert found.standard_error < 1e-6


def test_rejects_too_few_examples_to_split():
    with pytest.raises(ValueError, match=r"real must be \[n >= 8, d\]"):
        distance(points_evidence(torch.randn(7, 2), torch.randn(9, 2)))
