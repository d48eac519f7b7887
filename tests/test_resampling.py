import math

import pytest
import torch

from benchmark.metrics.base import Measurement
from benchmark.metrics.resampling import (
    HalfSamples,
    draw_subsets,
    error_from_subsets,
    half_samples,
    interval_reach,
    subset_share,
)


def seeded_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def mean_difference(*, real, generated):
    return (real.mean() - generated.mean()).item()


def squared_mean_difference(*, real, generated):
    return mean_difference(real=real, generated=generated) ** 2


def test_error_of_a_difference_of_means_is_the_known_one():
    real, generated = torch.randn(900).double() * 2, torch.randn(400).double() * 3 + 1
    known = math.sqrt(real.var().item() / 900 + generated.var().item() / 400)
    halves = half_samples(
        mean_difference,
        real=real,
        generated=generated,
        generator=seeded_generator(),
        repeats=3000,
    )
    assert halves.standard_error == pytest.approx(known, rel=0.05)


def test_small_subsets_give_the_same_error_as_halves():
    real, generated = torch.randn(900).double() * 2, torch.randn(400).double() * 3 + 1
    known = math.sqrt(real.var().item() / 900 + generated.var().item() / 400)
    halves = half_samples(
        mean_difference,
        real=real,
        generated=generated,
        generator=seeded_generator(),
        repeats=3000,
        most=90,
    )
    assert halves.standard_error == pytest.approx(known, rel=0.05)


def test_mean_plus_minus_two_errors_covers_the_truth_19_times_in_20():
    # In general position: unequal sizes and variances, and a statistic that is not linear.
    covered = []
    for trial in range(300):
        real, generated = torch.randn(80).double(), torch.randn(120).double() * 2 + 3
        value = squared_mean_difference(real=real, generated=generated)
        halves = half_samples(
            squared_mean_difference,
            real=real,
            generated=generated,
            generator=seeded_generator(trial),
        )
        covered.append(abs(value - 9) < 1.96 * halves.standard_error)
    assert 0.90 < sum(covered) / len(covered) < 0.985


def test_student_intervals_of_few_draws_cover_as_often_as_they_say():
    # The known error of the mean of normal draws, estimated from 5 of them as halves would be.
    draws = torch.randn(40_000, 5).double()
    errors, means = draws.std(dim=1), torch.randn(40_000).double()
    covered = (means.abs() < interval_reach(4) * errors).double().mean().item()
    assert covered == pytest.approx(0.95, abs=0.005)
    assert (means.abs() < interval_reach(math.inf) * errors).double().mean() < 0.9


def test_the_reach_is_that_of_printed_tables():
    assert interval_reach(29) == pytest.approx(2.045, abs=5e-4)
    assert interval_reach(math.inf) == pytest.approx(1.960, abs=5e-4)


def test_intervals_of_halves_are_students():
    halves = HalfSamples(tuple(float(value) for value in range(30)), share=0.5)
    found = Measurement.with_halves(3.0, halves, n=60)
    assert found.high - 3.0 == pytest.approx(2.045 * halves.standard_error, rel=3e-4)
    assert found.low + found.high == pytest.approx(6.0)


def test_one_set_is_enough_and_its_name_is_free():
    values = torch.randn(1000).double()
    halves = half_samples(
        lambda *, heights: heights.mean().item(),
        heights=values,
        generator=seeded_generator(),
        repeats=3000,
    )
    assert halves.standard_error == pytest.approx(values.std().item() / math.sqrt(1000), rel=0.05)


def test_a_constant_set_has_no_error():
    halves = half_samples(
        mean_difference,
        real=torch.ones(10),
        generated=torch.zeros(10),
        generator=seeded_generator(),
    )
    assert halves.standard_error == 0


def test_subsets_hold_distinct_rows_and_differ():
    drawn = draw_subsets(
        {"real": 10, "generated": 31}, share=0.5, generator=seeded_generator(), repeats=4
    )
    subsets = list(drawn)
    assert [len(subset["generated"]) for subset in subsets] == [15] * 4
    assert all(len(subset["real"].unique()) == 5 for subset in subsets)
    assert len({tuple(subset["real"].tolist()) for subset in subsets}) > 1


def test_the_same_generator_gives_the_same_halves():
    sets = {"real": torch.randn(30), "generated": torch.randn(30)}
    first, second = (
        half_samples(mean_difference, **sets, generator=seeded_generator(3)) for _ in range(2)
    )
    assert first == second


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match=r"at least 4 examples, got \{'generated': 3\}"):
        half_samples(
            mean_difference,
            real=torch.randn(8),
            generated=torch.randn(3),
            generator=seeded_generator(),
        )


def test_the_largest_set_decides_how_much_less_than_half_is_drawn():
    sizes = {"real": 100, "generated": 1000}
    assert [subset_share(sizes, most) for most in (None, 900, 500, 50)] == [0.5, 0.5, 0.5, 0.05]


def test_halves_need_no_rescaling():
    assert error_from_subsets([1.0, 3.0], share=0.5) == pytest.approx(math.sqrt(2))
    assert error_from_subsets([1.0, 3.0], share=0.1) == pytest.approx(math.sqrt(2) / 3)
