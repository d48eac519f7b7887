import pytest
import torch

from benchmark.calibration.comparisons import (
    MEASURED,
    SETTINGS,
    Repeat,
    compare_with_itself,
    decided_share,
    small_p_values,
)
from benchmark.metrics import METRICS
from benchmark.randomness import generator

QUICK = [metric for metric in METRICS if metric.name in ("spectral", "precision", "mode_kl")]
SLOWEST = {"wasserstein", "critic_wasserstein", "sinkhorn"}  # seconds a repeat


@pytest.mark.parametrize("setting", SETTINGS)
def test_both_sets_come_from_the_model_and_are_not_the_same(setting):
    draw = SETTINGS[setting](generator("test", setting))
    assert len(draw.first) == len(draw.second) == len(draw.data.test)
    known = {row.numpy().tobytes() for row in draw.first}
    assert not known & {row.numpy().tobytes() for row in draw.second}
    held_out = {row.numpy().tobytes() for row in draw.data.validation}
    assert not held_out & {row.numpy().tobytes() for row in draw.data.test}
    spread = [x.float().std() for x in (draw.first, draw.second)]
    assert spread[0] == pytest.approx(spread[1].item(), rel=0.1)
    assert not torch.equal(draw.first, SETTINGS[setting](generator("other", setting)).first)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_repeat_is_the_same_twice_and_unlike_the_next(setting):
    found = compare_with_itself(setting, 0, QUICK)
    assert found == compare_with_itself(setting, 0, QUICK)
    assert found.p_values != compare_with_itself(setting, 1, QUICK).p_values
    assert "precision" in found.p_values
    assert all(found.corrected[name] >= p for name, p in found.p_values.items())


def test_shares_count_repeats_and_not_metrics():
    decided = Repeat({"fid": 0.001, "kid": 0.04}, {"fid": 0.002, "kid": 0.04}, ("fid", "kid"))
    quiet = Repeat({"fid": 0.3}, {"fid": 0.3}, ())
    assert decided_share([decided, quiet, quiet, quiet]) == 0.25
    assert small_p_values([decided, quiet]) == {"fid": 0.5, "kid": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_model_against_itself_is_undecided_in_95_of_100_repeats(setting):
    metrics = [metric for metric in MEASURED if metric.name not in SLOWEST]
    repeats = [compare_with_itself(setting, index, metrics) for index in range(200)]
    assert decided_share(repeats) <= 0.05
