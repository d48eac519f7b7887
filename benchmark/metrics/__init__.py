"""The metrics, in the order reports show them. Adding one is adding a line to METRICS.

Each file holds pure functions of tensors; a metric's `measure` picks from the evidence what its
function needs and adds the error bar.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmark.metrics import (
    annealing,
    bins,
    class_likelihood,
    classifier_test,
    convergence,
    cost,
    critic,
    data_copying,
    energy,
    extrapolation,
    frechet,
    inception_score,
    kid,
    latent,
    likelihood,
    memorisation,
    mmd,
    mode_coverage,
    mode_likelihood,
    nearest_neighbour_test,
    parzen,
    precision_recall,
    rare_modes,
    sinkhorn,
    sliced,
    spectrum,
    support,
    wasserstein,
    within_mode,
)
from benchmark.metrics.base import Conditions, Metric


def _examples(conditions: Conditions) -> Mapping[str, Any]:
    return {"examples": conditions.examples}


def _annealing(conditions: Conditions) -> Mapping[str, Any]:
    """Draws from the prior are named only where there are any, as `_quadrature` is."""
    settings = asdict(conditions.annealing)
    return {name: value for name, value in settings.items() if name != "prior_draws" or value}


def _annealed_if_needed(conditions: Conditions) -> Mapping[str, Any]:
    return {**_annealing(conditions), **_quadrature(conditions)}


def _likelihood(conditions: Conditions) -> Mapping[str, Any]:
    annealing = {"annealing": _annealing(conditions)}
    return {**_examples(conditions), **annealing, **_quadrature(conditions)}


def _quadrature(conditions: Conditions) -> Mapping[str, Any]:
    """Named only where it is asked for, so that answers without it stay answers."""
    return {"quadrature": True} if conditions.quadrature else {}


def _parzen(conditions: Conditions) -> Mapping[str, Any]:
    return {**_samples(conditions), **_examples(conditions)}


def _samples(conditions: Conditions) -> Mapping[str, Any]:
    return {"samples": conditions.samples}


def _features(conditions: Conditions) -> Mapping[str, Any]:
    compared = {"network": conditions.network, "reference": conditions.reference}
    return {**_samples(conditions), **compared}


def _real_and_generated(conditions: Conditions) -> Mapping[str, Any]:
    return {**_samples(conditions), "reference": conditions.reference}


def _held_out(conditions: Conditions) -> Mapping[str, Any]:
    return {**_samples(conditions), **_examples(conditions)}


def _held_out_features(conditions: Conditions) -> Mapping[str, Any]:
    return {**_held_out(conditions), "network": conditions.network}


def _transport(conditions: Conditions) -> Mapping[str, Any]:
    return {**_features(conditions), "samples": min(conditions.samples, wasserstein.MOST)}


def _collisions(conditions: Conditions) -> Mapping[str, Any]:
    samples = min(conditions.samples, support.MOST)
    return {**_real_and_generated(conditions), "samples": samples}


METRICS = (
    Metric("nll", "NLL", "likelihood", "nats", "lower", likelihood.nll, version=2, settings=_likelihood),
    Metric("bits_per_dim", "bits/dim", "likelihood", "bits/dim", "lower", likelihood.bits_per_dim, version=2, settings=_likelihood, decimals=3),
    Metric("train_test_gap", "Train-test gap", "likelihood", "nats", None, likelihood.train_test_gap, settings=_likelihood),
    Metric("worst_class_gap", "Worst class gap", "likelihood", "nats", None, class_likelihood.worst_class_gap, settings=_likelihood),
    Metric("bdmc_gap", "BDMC gap", "likelihood", "nats", None, annealing.bdmc_gap, settings=_annealed_if_needed),
    Metric("ais_ess", "Effective chains", "likelihood", "chains", None, annealing.effective_chains, settings=_annealed_if_needed, decimals=1),
    Metric("observation_sigma", "σ of observation", "likelihood", "data units", None, latent.observation_sigma, decimals=3),
    Metric("elbo", "ELBO (k = 1)", "bounds", "nats", "higher", likelihood.elbo, version=2, settings=_examples),
    Metric("iwae_50", "IWAE (k = 50)", "bounds", "nats", "higher", likelihood.iwae_50, version=2, settings=_examples),
    Metric("iwae", "IWAE (k = 1000)", "bounds", "nats", "higher", likelihood.iwae, version=2, settings=_examples),
    Metric("ais", "AIS", "bounds", "nats", "higher", annealing.ais, settings=_annealing),
    Metric("ais_train", "AIS, training set", "bounds", "nats", "higher", annealing.ais_train, settings=_annealing),
    Metric("parzen", "Parzen", "bounds", "nats", None, parzen.measure, settings=_parzen),
    Metric("fid", "FID", "samples", "squared feature distance", "lower", frechet.measure, settings=_features),
    Metric("fid_infinity", "FID∞", "samples", "squared feature distance", "lower", extrapolation.measure, settings=_features),
    Metric("inception_score", "IS", "samples", "classes", "higher", inception_score.measure, settings=_features),
    Metric("kid", "KID", "samples", "squared MMD", "lower", kid.measure, settings=_features, decimals=4),
    Metric("precision", "Precision", "samples", "share (k = 3)", "higher", precision_recall.precision, version=2, settings=_features, decimals=3),
    Metric("recall", "Recall", "samples", "share (k = 3)", "higher", precision_recall.recall, version=2, settings=_features, decimals=3),
    Metric("density", "Density", "samples", "balls / k (k = 5)", "higher", precision_recall.density, settings=_features, decimals=3),
    Metric("coverage", "Coverage", "samples", "share (k = 5)", "higher", precision_recall.coverage, settings=_features, decimals=3),
    Metric("spectral", "Spectral", "samples", "dB", "lower", spectrum.measure, settings=_real_and_generated),
    Metric("mmd", "MMD²", "distances", "squared MMD", "lower", mmd.measure, settings=_features, decimals=4),
    Metric("mmd_rq", "MMD² (RQ)", "distances", "squared MMD", "lower", mmd.rational_quadratic, settings=_features, decimals=4),
    Metric("wasserstein", "W₂", "distances", "distance", "lower", wasserstein.measure, settings=_transport, decimals=3),
    Metric("sliced", "Sliced W₂", "distances", "distance", "lower", sliced.sliced, settings=_features, decimals=3),
    Metric("max_sliced", "Max-sliced W₂", "distances", "distance", "lower", sliced.max_sliced, settings=_features, decimals=3),
    Metric("sinkhorn", "Sinkhorn", "distances", "squared distance", "lower", sinkhorn.measure, settings=_transport, decimals=3),
    Metric("critic_wasserstein", "Critic W₁", "distances", "distance", "lower", critic.distance, settings=_features, decimals=3),
    Metric("critic_gap", "Critic's gap", "distances", "distance", None, critic.gap, settings=_features, decimals=3),
    Metric("mmd_p", "MMD p-value", "tests", "probability", None, mmd.p_value, settings=_features, decimals=3),
    Metric("c2st", "C2ST", "tests", "accuracy", "lower", classifier_test.accuracy, settings=_features, decimals=3),
    Metric("c2st_p", "C2ST p-value", "tests", "probability", None, classifier_test.p_value, settings=_features, decimals=3),
    Metric("nn_real", "1-NN real", "tests", "accuracy", None, nearest_neighbour_test.on_real, settings=_features, decimals=3),
    Metric("nn_generated", "1-NN generated", "tests", "accuracy", None, nearest_neighbour_test.on_generated, settings=_features, decimals=3),
    Metric("nn_p", "1-NN p-value", "tests", "probability", None, nearest_neighbour_test.p_value, settings=_features, decimals=3),
    Metric("ndb", "NDB/K", "tests", "share of bins", "lower", bins.ndb, settings=_features, decimals=3),
    Metric("bins_js", "JS of bins", "tests", "nats", "lower", bins.divergence, settings=_features, decimals=4),
    Metric("nn_distance_ratio", "Distance ratio", "memorisation", "ratio", None, memorisation.nn_distance_ratio, settings=_held_out_features, decimals=3),
    Metric("pixel_distance_ratio", "Pixel ratio", "memorisation", "ratio", None, memorisation.pixel_distance_ratio, settings=_held_out, decimals=3),
    Metric("authenticity", "Authentic", "memorisation", "share", None, memorisation.authenticity, settings=_held_out_features, decimals=3),
    Metric("c_t", "C_T", "memorisation", "z-score", None, data_copying.measure, version=2, settings=_held_out_features),
    Metric("copies", "Copies", "memorisation", "share", None, memorisation.copies, settings=_held_out, decimals=3),
    Metric("copies_p", "Copies p-value", "memorisation", "probability", None, memorisation.copies_p, settings=_held_out, decimals=4),
    Metric("modes", "Modes", "modes", "modes", "higher", mode_coverage.modes, settings=_samples, decimals=1),
    Metric("high_quality", "High quality", "modes", "share", "higher", mode_coverage.high_quality, settings=_samples, decimals=3),
    Metric("mode_kl", "KL over modes", "modes", "nats", "lower", mode_coverage.mode_kl, settings=_samples, decimals=3),
    Metric("mode_kl_forward", "Forward KL", "modes", "nats", "lower", mode_coverage.mode_kl_forward, settings=_samples, decimals=3),
    Metric("within_mode", "Spread in modes", "modes", "of the true", None, within_mode.measure, settings=_samples, decimals=3),
    Metric("rare_recall", "Rare modes", "modes", "recall", "higher", rare_modes.measure, settings=_samples, decimals=3),
    Metric("support", "Support", "modes", "of the real", None, support.measure, settings=_collisions, decimals=3),
    Metric("energy", "Energy distance", "modes", "distance", "lower", energy.measure, settings=_real_and_generated, decimals=4),
    Metric("worst_mode_gap", "Worst mode gap", "modes", "nats", "lower", mode_likelihood.worst_mode_gap, settings=_likelihood),
    Metric("first_coverage", "First coverage", "modes", "steps", "lower", convergence.first_coverage, decimals=0),
    Metric("modes_lost", "Modes lost", "modes", "modes", None, convergence.modes_lost, decimals=1),
    Metric("parameters", "Parameters", "cost", "count", None, cost.parameters, decimals=0),
    Metric("train_seconds", "Training", "cost", "s", "lower", cost.train_seconds, decimals=1),
    Metric("samples_per_second", "Sampling", "cost", "samples/s", "higher", cost.samples_per_second, settings=_samples, decimals=0),
    Metric("peak_memory", "Peak memory", "cost", "MiB", "lower", cost.peak_memory, decimals=0),
)  # fmt: skip
