"""Cells with made-up but plausible content, for tests of what is made from cells."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.metrics import METRICS
from benchmark.metrics.base import Conditions, Metric
from benchmark.store import Cell, Identity, Meaning, Question, Result

SPACES: dict[str, tuple[tuple[int, ...], int | None]] = {
    "ring": ((2,), None),
    "grid": ((2,), None),
    "digits": ((1, 8, 8), 17),
    "colours": ((3, 32, 32), 256),
}
ROLES = {
    "gan": "model",
    "wgan_gp": "model",
    "vae": "model",
    "vae_gan": "model",
    "pixelcnn_pp": "model",
    "marginals": "baseline",
    "ppca": "baseline",
    "gmm": "baseline",
    "data": "ceiling",
    "memoriser": "ceiling",
    "noise": "floor",
    "collapsed": "floor",
}
MODELS = tuple(ROLES)
LOSSES = {
    "gan": ("discriminator", "generator"),
    "wgan_gp": ("critic", "gradient_penalty", "generator"),
    "vae": ("loss", "reconstruction", "kl"),
    "vae_gan": ("reconstruction", "kl", "discriminator", "generator"),
    "pixelcnn_pp": ("loss",),
}
EXACT = ("pixelcnn_pp", "marginals", "gmm")
SANDWICHED = ("vae", "vae_gan", "gan", "wgan_gp")  # by AIS, with a BDMC gap
OBSERVED = ("gan", "wgan_gp", "vae_gan")  # through an observation model
BOUNDED = ("ppca",)
QUALITY = {  # how many times worse than middling
    **{"gan": 1.3, "wgan_gp": 0.9, "vae": 1.1, "vae_gan": 1.0, "pixelcnn_pp": 0.88},
    **{"marginals": 2.5, "ppca": 1.9, "gmm": 1.2},
    **{"data": 0.3, "memoriser": 0.28, "noise": 6.0, "collapsed": 5.0},
}
TYPICAL = {  # of a middling model; better and worse ones are multiples
    **{"nll": 110.0, "bits_per_dim": 2.5, "elbo": -120.0, "iwae_50": -114.0, "iwae": -112.0},
    **{"train_test_gap": 3.1, "bdmc_gap": 0.8, "ais_ess": 9.3, "observation_sigma": 1.6},
    **{"ais": -111.0, "ais_train": -108.0, "parzen": -135.0},
    **{"fid": 14.0, "inception_score": 7.0, "kid": 0.021, "precision": 0.7, "recall": 0.5},
    **{"mmd": 0.0042, "wasserstein": 1.7, "modes": 7.0, "high_quality": 0.8, "mode_kl": 0.11},
    **{"parameters": 154_321.0, "train_seconds": 41.0, "samples_per_second": 81_234.0},
    **{"peak_memory": 512.0},
}
ORDINARY = 0.4  # of a metric that TYPICAL does not name
OF_IMAGES = (  # the metrics of samples that points have no answer to
    *("fid", "fid_infinity", "inception_score", "kid"),
    *("spectral", "pixel_distance_ratio", "copies", "copies_p"),
)
VERSIONS = {metric.name: metric.version for metric in METRICS}
PROVENANCE = {
    "commit": "0123abc",
    "device": "cpu",
    "versions": {"python": "3.12.3", "torch": "2.11.0", "benchmark": "0.1.0"},
}


def result(
    metric: str,
    value: float | None = None,
    *,
    meaning: Meaning = "estimate",
    standard_error: float | None = None,
    reason: str | None = None,
    failed: bool = False,
    settings: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Result:
    """A result: measured if it has a value, else not applicable (or failed) for `reason`.

    Of the metric as it is computed today, unless a version is given.
    """
    version = VERSIONS.get(metric, 1) if version is None else version
    question = Question(metric, version, settings or {})
    if value is None:
        status = "failed" if failed else "not applicable"
        return Result(question, status, reason=reason or "there is no such thing")
    error = standard_error
    low, high = (None, None) if error is None else (value - 1.96 * error, value + 1.96 * error)
    return Result(question, "measured", value, error, low, high, 400, meaning, seconds=0.25)


def cell(
    dataset: str = "digits",
    model: str = "vae",
    seed: int = 0,
    results: Sequence[Result] = (),
    **others: Any,
) -> Cell:
    """A cell of one of SPACES, with the role of its name in ROLES."""
    shape, levels = SPACES[dataset]
    identity = Identity(dataset, model, seed, 1.0, f"zoo.{model}:Model", {}, "0" * 16)
    defaults = {"role": ROLES.get(model, "model"), "provenance": PROVENANCE}
    defaults |= {"shape": shape, "levels": levels}
    return Cell(identity, results=tuple(results), **defaults | others)


def full_cell(dataset: str, model: str, seed: int) -> Cell:
    """A finished cell: samples, curve, and an answer to every metric."""
    rng = np.random.default_rng([len(dataset), sum(model.encode()), seed])
    quality = QUALITY.get(model, 1.0) * (1 + 0.03 * rng.standard_normal())
    results = [_answer(metric, dataset, model, quality) for metric in METRICS]
    return cell(
        dataset,
        model,
        seed,
        results,
        checkpoint="f" * 64,
        training={"seconds": 40.0, "curve": _curve(model, rng)} if model in LOSSES else {},
        samples=_examples(dataset, rng, spread=quality),
        real=_examples(dataset, np.random.default_rng(7), spread=0.1),
    )


def full_suite(
    datasets: Sequence[str] = ("ring", "grid", "digits"),
    models: Sequence[str] = MODELS,
    seeds: Sequence[int] = (0, 1, 2),
) -> list[Cell]:
    """Every cell of a suite, one of which diverged in training."""
    cells = [full_cell(d, m, s) for d in datasets for m in models for s in seeds]
    broken = "loss 'generator' became nan at step 310: stopped"
    return [
        cell(c.identity.dataset, "gan", 1, failure=broken, real=c.real)
        if (c.identity.model, c.identity.seed) == ("gan", 1) and c.identity.dataset == "digits"
        else c
        for c in cells
    ]


def _answer(metric: Metric, dataset: str, model: str, quality: float) -> Result:
    is_image = SPACES[dataset][1] is not None
    reason = _why_not(metric, is_image, model)
    network = f"{dataset}-cnn" if is_image else None
    samples = 400 if is_image else 2_500
    settings = metric.settings(Conditions(samples=samples, examples=400, network=network))
    if reason:
        return result(metric.name, reason=reason, settings=settings)
    typical = TYPICAL.get(metric.name, ORDINARY)
    value = typical * (quality if metric.better == "lower" else 1 / quality)
    if metric.unit == "count":
        value = typical
    if metric.unit in ("share", "modes") or metric.name.endswith("_p"):
        value = min(value, 8.0 if metric.unit == "modes" else 1.0)
    error = None if metric.table == "cost" else abs(value) / 40
    found = result(
        metric.name,
        value,
        meaning=_meaning(metric, model),
        standard_error=error,
        settings=settings,
    )
    if metric.name == "nll":
        n = 400 if model in EXACT else 100
        return replace(found, n=n, per_example=per_example(value, n))
    return replace(found, details=_details(metric.name, dataset, value))


def _details(metric: str, dataset: str, value: float) -> dict[str, Any]:
    if metric == "bdmc_gap":
        return sandwich(value)
    if metric == "spectral":
        return spectra(value)
    if metric in ("nn_distance_ratio", "pixel_distance_ratio") and SPACES[dataset][1]:
        return {"pairs": image_pairs(dataset)}
    return {}


def spectra(distance: float) -> dict[str, Any]:
    """Details of a spectral distance: samples that lose the more power, the finer it is."""
    powers = [10 / frequency**2 for frequency in range(1, 5)]
    lost = [power * 10 ** (-distance * rank / 10) for rank, power in enumerate(powers)]
    return {"real": powers, "generated": lost}


def image_pairs(dataset: str) -> dict[str, Any]:
    """Eight samples, and as their nearest training images the same ones in another order."""
    images = _examples(dataset, np.random.default_rng(3), spread=0.1)[:8]
    return {"generated": images.tolist(), "nearest": images[::-1].tolist()}


def _meaning(metric: Metric, model: str) -> Meaning:
    if metric.name in ("elbo", "iwae_50", "iwae", "ais", "ais_train"):
        return "lower bound"
    if metric.name not in ("nll", "bits_per_dim"):
        return "estimate"
    if model in EXACT:
        return "exact"
    return "sandwich" if model in SANDWICHED else "upper bound"


def per_example(mean: float, n: int, spread: float = 20.0) -> np.ndarray:
    """Values with this mean; some examples are harder than others, for every model alike."""
    hardness = np.random.default_rng(5).standard_normal(400)[:n]
    own = np.random.default_rng(zlib.crc32(f"{mean:.6f}".encode())).standard_normal(n)
    values = spread * hardness + own
    return (mean + values - values.mean()).astype(np.float32)


def sandwich(gap: float) -> dict[str, Any]:
    """Details of a BDMC run: bounds that close to this gap, and what the sampler saw."""
    temperatures = [10, 30, 100, 300]
    lower = [-90 - gap * (0.6 + 30 / t) for t in temperatures]
    upper = [low + gap * 300 / t for low, t in zip(lower, temperatures, strict=True)]
    return {
        "curve": {
            "temperatures": temperatures,
            "lower": lower,
            "lower_error": [1.1] * 4,
            "upper": upper,
            "upper_error": [1.2] * 4,
        },
        "acceptance": 0.66,
        "divergences": 0.0004,
        "energy_error": 0.31,
        "weight_histogram": {
            "edges": np.linspace(-4, 2, 13).tolist(),
            "counts": [1, 0, 3, 9, 22, 61, 110, 171, 203, 140, 60, 20],
        },
    }


def _why_not(metric: Metric, is_image: bool, model: str) -> str | None:
    if metric.name in OF_IMAGES and not is_image:
        return "points need no network: there are none to take features from"
    if metric.name == "bits_per_dim" and not is_image:
        return "the data are continuous: a density has no bits per dimension, see nll"
    if metric.table == "modes" and is_image:
        return "the data set's modes are not known"
    if metric.table in ("likelihood", "bounds"):
        return _why_no_likelihood(metric.name, model)
    if metric.name == "train_seconds" and model not in (*LOSSES, *EXACT):
        return "the model has no fit"
    return None


def _why_no_likelihood(metric: str, model: str) -> str | None:
    if metric == "parzen":
        return None
    if model not in (*EXACT, *SANDWICHED, *BOUNDED):
        return "the model gives samples only: it has no log_prob, bound or decoder"
    if metric in ("nll", "bits_per_dim", "train_test_gap"):
        return None
    if model in EXACT:
        return "log p(x) is exact, so no bound is needed: see nll"
    if metric in ("elbo", "iwae_50", "iwae") and model not in ("vae", *BOUNDED):
        return "the model has no encoder to propose from"
    if metric in ("ais", "ais_train", "bdmc_gap", "ais_ess") and model not in SANDWICHED:
        return "the model has no decoder"
    if metric == "observation_sigma" and model not in OBSERVED:
        return "the model has a likelihood of its own"
    return None


def _curve(model: str, rng: np.random.Generator) -> dict[str, list[float]]:
    steps = np.arange(10, 3_010, 10)
    decay = np.exp(-steps / 400)
    losses = {
        name: (scale * (0.3 + decay) + 0.05 * rng.standard_normal(len(steps))).tolist()
        for scale, name in enumerate(LOSSES[model], start=1)
    }
    return {"step": steps.tolist(), **losses}


def _examples(dataset: str, rng: np.random.Generator, spread: float) -> np.ndarray:
    shape, levels = SPACES[dataset]
    if levels is None:
        return _points(dataset, rng, spread)
    rows, columns = np.mgrid[: shape[1], : shape[2]] / shape[1]
    waves = np.sin(2 * math.pi * (rng.random((36, shape[0], 1, 1)) + rows * 1.3 + columns))
    noise = 0.2 * spread * rng.standard_normal((36, *shape))
    return ((waves + noise).clip(-1, 1) * (levels - 1) / 2 + (levels - 1) / 2).astype(np.uint8)


def _points(dataset: str, rng: np.random.Generator, spread: float) -> np.ndarray:
    if dataset == "ring":
        angles = rng.integers(0, 8, 1_000) * 2 * math.pi / 8
        means, sigma = np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.01
    else:
        means, sigma = rng.integers(-2, 3, (1_000, 2)) * 2.0, 0.05
    return (means + sigma * 10 * spread * rng.standard_normal((1_000, 2))).astype(np.float32)


def damaged_suite(
    kinds: Mapping[str, Sequence[float]], metrics: Sequence[str] = ("fid",), seeds: int = 3
) -> list[Cell]:
    """Digits damaged in graded ways: each metric is 10 + the number of the kind's grade.

    The seeds of a row lie 1 apart, so that the standard deviation of every row is 1.
    """
    moved = {"intact": 0.0} | {
        f"{kind}_{grade}": value
        for kind, values in kinds.items()
        for grade, value in enumerate(values, start=1)
    }
    return [
        cell(
            "digits",
            name,
            seed,
            [result(metric, 10 + value + seed - 1, standard_error=0.5) for metric in metrics],
        )
        for name, value in moved.items()
        for seed in range(seeds)
    ]
