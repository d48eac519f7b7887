import math

import pytest
from scipy.stats import binomtest

from benchmark.metrics.base import Measurement
from benchmark.metrics.shares import as_share, wilson_interval


@pytest.mark.parametrize(("count", "n"), [(0, 40), (7, 50), (30, 30)])
def test_interval_of_a_share_is_wilsons(count, n):
    expected = binomtest(count, n).proportion_ci(method="wilson")
    found = wilson_interval(count / n, n)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-3, abs=1e-9)


def test_wilson_interval_is_that_of_the_score_test():
    low, high = wilson_interval(0.3, 50)
    for end in (low, high):
        assert abs(0.3 - end) / math.sqrt(end * (1 - end) / 50) == pytest.approx(1.96, rel=1e-9)
    assert wilson_interval(0.0, 50)[0] == 0
    assert wilson_interval(1.0, 50) == pytest.approx((1 - wilson_interval(0.0, 50)[1], 1.0))


def test_a_share_keeps_its_value_and_gains_its_error():
    found = as_share(Measurement(0.3, n=50, details={"kept": True}))
    assert (found.value, found.n, found.details) == (0.3, 50, {"kept": True})
    assert found.standard_error == pytest.approx(math.sqrt(0.3 * 0.7 / 50))
    assert (found.low, found.high) == wilson_interval(0.3, 50)
