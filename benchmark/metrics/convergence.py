"""When training first covers all modes, and whether it loses modes again.

Read from what the training log kept: the modes that samples captured, at up to a hundred steps.
"""

from benchmark.metrics.base import Evidence, Measurement, NotApplicable


def first_coverage(evidence: Evidence) -> Measurement:
    """The first recorded step at which the samples captured every mode."""
    steps, captured = _recorded(evidence)
    assert evidence.modes is not None
    every = len(evidence.modes.weights)
    for step, found in zip(steps, captured, strict=True):
        if found >= every:
            return Measurement(float(step))
    raise NotApplicable(f"training never covered all {every} modes")


def modes_lost(evidence: Evidence) -> Measurement:
    """The largest drop in the number of captured modes after it had first been largest."""
    _, captured = _recorded(evidence)
    return Measurement(float(largest_drop(captured)))


def largest_drop(captured: list[int]) -> int:
    """The maximum of a sequence less the least of what follows its first place; 0 or more."""
    most = max(captured)
    return most - min(captured[captured.index(most) :])


def _recorded(evidence: Evidence) -> tuple[list[int], list[int]]:
    """Steps and the modes captured at each, as many and at least one."""
    if evidence.modes is None:
        raise NotApplicable("no known modes: this data set is not a mixture with known components")
    coverage = evidence.training.get("coverage", {})
    if not coverage.get("step"):
        raise NotApplicable("no coverage was recorded while the model was trained")
    return list(coverage["step"]), list(coverage["modes"])
