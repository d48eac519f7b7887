from dataclasses import replace

import pytest
import torch
from sample_evidence import points_evidence

from benchmark.data.mixture import ring
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.convergence import first_coverage, largest_drop, modes_lost


def trained(captured, modes="ring"):
    steps = [100 * index for index in range(len(captured))]
    coverage = {"step": steps, "modes": captured, "high_quality": [0.9] * len(captured)}
    points = torch.zeros(4, 2)
    evidence = points_evidence(points, points, modes=ring() if modes == "ring" else modes)
    return replace(evidence, training={"coverage": coverage})


def test_coverage_is_dated_from_the_first_step_with_every_mode():
    assert first_coverage(trained([0, 3, 7, 8, 6, 8])).value == 300
    assert first_coverage(trained([8, 8])).value == 0


def test_training_that_never_covered_all_modes_has_no_date():
    with pytest.raises(NotApplicable, match=r"never covered all 8 modes$"):
        first_coverage(trained([0, 3, 7, 5]))


@pytest.mark.parametrize(
    ("captured", "lost"),
    [
        ([0, 3, 8, 8], 0),
        ([0, 8, 8, 5, 7], 3),
        ([0, 8, 2, 8, 6], 6),  # counted from the first time that the number was largest
        ([4, 1, 6, 6], 0),  # the samples before training lie anywhere
        ([7], 0),
    ],
)
def test_modes_are_lost_after_the_largest_number(captured, lost):
    assert largest_drop(captured) == lost
    assert modes_lost(trained(captured)).value == lost


def test_without_a_record_or_without_modes_there_is_no_answer():
    for measure in (first_coverage, modes_lost):
        with pytest.raises(NotApplicable, match="no coverage was recorded"):
            measure(trained([]))
        with pytest.raises(NotApplicable, match="no coverage was recorded"):
            measure(replace(trained([8]), training={}))
        with pytest.raises(NotApplicable, match="no known modes"):
            measure(trained([8], modes=None))
