"""The difference of two models in a sample metric, from values on the same halves of real data."""

import math
from collections.abc import Mapping
from statistics import fmean

import numpy as np
from scipy.special import stdtr, stdtrit

from benchmark.metrics.base import Metric
from benchmark.metrics.resampling import error_from_subsets
from benchmark.paired import Comparison, of_one_seed
from benchmark.report.intervals import NOTHING, UPPER, Part, of_mean, pooled
from benchmark.report.summary import evaluation_error
from benchmark.store import Result

MOST_FREEDOM = 1e9  # degrees of freedom: Student's distribution is the normal one by then


def compare_values(
    metric: Metric,
    first: tuple[str, Mapping[int, Result]],
    second: tuple[str, Mapping[int, Result]],
) -> Comparison | None:
    """The difference in a metric that has no values of single examples.

    Under one training seed two models are measured on the same random halves of the real data
    (`metrics.resampling`), so the spread of the differences on these halves is the error of the
    difference: what the choice of real data does to both cancels. Without such halves the two
    errors count as independent.

    All seeds share the real data, so measuring several of them does not make the error of
    measuring smaller here. What seeds differ by is added, and a few of them know it roughly:
    the interval is Student's, with the degrees of freedom of all parts together. A metric that
    stores no error bar is compared by its spread over seeds alone, two of each model or more.

    Where no error of any kind is seen, as of a count of modes that no seed and no bootstrap moves,
    the p-value is that of s seeds with the same sign: a sign test's, 1 with a single seed.

    Args:
        metric: what was measured.
        first: name of a model and its results {seed: measured}.
        second: the same of another.

    Returns:
        None where a result has no error bar and seeds are too few to show one.
    """
    (name, results), (other_name, others) = first, second
    measuring = _measuring(results, others)
    remarks = [of_one_seed(model) for model, its in (first, second) if len(its) == 1]
    if measuring is None:
        if remarks:
            return None
        measuring = NOTHING
        remarks.append(f"{metric.label}: one number a seed, compared over seeds alone.")
    values, other_values = _values(results), _values(others)
    difference = float(values.mean() - other_values.mean())
    variance, freedom = pooled([measuring, of_mean(values), of_mean(other_values)])
    if variance == 0:
        reach, p_value = 0.0, _sign_p(difference, seeds=len(results.keys() & others.keys()))
    else:
        reach, p_value = _student(difference, math.sqrt(variance), freedom)
    return Comparison(
        metric,
        name,
        other_name,
        difference,
        difference - reach,
        difference + reach,
        min(result.n or 0 for result in (*results.values(), *others.values())),
        (len(results), len(others)),
        p_value,
        remarks=tuple(remarks),
    )


def _sign_p(difference: float, seeds: int) -> float:
    """Two-sided p-value of the same difference in every one of so many paired seeds."""
    return min(1.0, 2.0 ** (1 - seeds)) if difference else 1.0


def _student(difference: float, error: float, freedom: float) -> tuple[float, float]:
    """To each side of the 95 % interval, and the p-value of no difference."""
    freedom = min(freedom, MOST_FREEDOM)
    reach = float(stdtrit(freedom, UPPER)) * error
    return reach, 2 * float(stdtr(freedom, -abs(difference) / error))


def _values(results: Mapping[int, Result]) -> np.ndarray:
    return np.array([result.value for result in results.values()], dtype=np.float64)


def _measuring(first: Mapping[int, Result], second: Mapping[int, Result]) -> Part | None:
    """Variance of a difference measured once, and its degrees of freedom."""
    shared = [(first[seed], second[seed]) for seed in first if seed in second]
    paired = [_on_the_same_halves(*pair) for pair in shared]
    known = [part for part in paired if part is not None]
    if known and len(known) == len(paired):
        return fmean(part for part, _ in known), sum(freedom for _, freedom in known)
    variances = [_mean_square([*its.values()]) for its in (first, second)]
    if any(variance is None for variance in variances):
        return None
    return sum(variance for variance in variances if variance is not None), math.inf


def _on_the_same_halves(first: Result, second: Result) -> Part | None:
    """From the differences on halves; None where those were not the same for both.

    An error bar may hold more than the halves show (the choice of KID's subsets): the error of
    the difference then grows by the same factor.
    """
    halves, others = (its.details.get("half_samples") for its in (first, second))
    if not halves or not others or first.n != second.n or halves["share"] != others["share"]:
        return None
    values, other_values = np.array(halves["values"]), np.array(others["values"])
    if values.shape != other_values.shape:
        return None
    share = halves["share"]
    error = error_from_subsets((values - other_values).tolist(), share)
    larger = max(1.0, _excess(first, values, share), _excess(second, other_values, share))
    return (larger * error) ** 2, len(values) - 1


def _excess(result: Result, values: np.ndarray, share: float) -> float:
    """How many times the stored error is the one that the halves show."""
    shown = error_from_subsets(values.tolist(), share)
    return (evaluation_error(result) or 0.0) / shown if shown else 1.0


def _mean_square(results: list[Result]) -> float | None:
    errors = [evaluation_error(result) for result in results]
    known = [error for error in errors if error is not None]
    return fmean(error**2 for error in known) if len(known) == len(errors) else None
