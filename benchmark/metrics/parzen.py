"""Log-likelihood by Parzen windows: the cautionary column."""

import numpy as np
from torch import Tensor

from benchmark.estimators.parzen import choose_bandwidth, parzen_log_likelihood
from benchmark.metrics.base import Evidence, Measurement, NotApplicable

MOST = 500  # validation examples that choose the bandwidth
FEWEST = 2


def measure(evidence: Evidence) -> Measurement:
    """Mean Parzen log-likelihood of the test split from the model's samples, nats.

    The bandwidth is the best for validation examples, those that the samples repeat left out:
    were they kept, samples that are the validation split would look infinitely likely.
    """
    if evidence.validation is None:
        raise NotApplicable("there is no validation split to choose a bandwidth with")
    unseen = _not_among(evidence.generated, evidence.validation[:MOST])
    if len(unseen) < FEWEST:
        raise NotApplicable("the samples are the validation examples, which choose the bandwidth")
    levels, device = evidence.spec.levels, evidence.device
    samples = evidence.generated.to(device)
    bandwidth = choose_bandwidth(samples, unseen.to(device), levels)
    test = evidence.test.to(device)
    values = parzen_log_likelihood(test, samples, bandwidth.value, levels)
    details = {"bandwidth": bandwidth.value, "at_edge": bandwidth.at_edge}
    return Measurement.mean_of(values, details=details)


def _not_among(samples: Tensor, examples: Tensor) -> Tensor:
    """The examples that no sample repeats exactly."""
    known = {row.tobytes() for row in samples.cpu().numpy()}
    fresh = [row.tobytes() not in known for row in examples.to(samples.dtype).cpu().numpy()]
    return examples[np.flatnonzero(fresh)]
