"""What a model costs. Seconds compare only within one machine, named in the provenance."""

from benchmark.metrics.base import Evidence, Measurement, NotApplicable


def parameters(evidence: Evidence) -> Measurement:
    """Trained numbers."""
    if evidence.cost.parameters is None:
        raise NotApplicable("the model is no torch module, so its parameters are not known")
    return Measurement(float(evidence.cost.parameters), meaning="exact")


def train_seconds(evidence: Evidence) -> Measurement:
    """Wall-clock seconds of `fit`, summed over the parts of an interrupted run.

    Of seeds that trained together each has an equal share of the seconds of all.
    """
    if evidence.cost.train_seconds is None:
        raise NotApplicable("the model has no fit")
    return Measurement(evidence.cost.train_seconds)


def samples_per_second(evidence: Evidence) -> Measurement:
    """Throughput while the samples of this cell were drawn, one call for all of them."""
    seconds = evidence.cost.sample_seconds
    if not seconds:
        raise NotApplicable("sampling was not timed")
    return Measurement(evidence.cost.samples_drawn / seconds, n=evidence.cost.samples_drawn)


def peak_memory(evidence: Evidence) -> Measurement:
    """Most memory while training and sampling, MiB: the device's on a GPU, else the process's.

    Of seeds that trained together each has the memory of all.
    """
    if evidence.cost.peak_memory_bytes is None:
        raise NotApplicable("peak memory was not measured")
    return Measurement(evidence.cost.peak_memory_bytes / 2**20)
