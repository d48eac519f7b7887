"""What is simulated: a study repeats one measurement on fresh draws.

Adding a metric to the simulation is adding its name to a study. What several metrics compute
together stands in one study.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmark.calibration.comparisons import MEASURED, SETTINGS, compare_with_itself
from benchmark.calibration.populations import GENERATED, REAL, TRAIN, evidence
from benchmark.calibration.truth import true_frechet, true_kid, true_mmd
from benchmark.metrics import METRICS
from benchmark.randomness import derive_seed

Kind = Literal["p-values", "intervals", "verdicts"]
Value = tuple[float, float | None, float | None]
BY_NAME = {metric.name: metric for metric in METRICS}
PRECISION_RECALL = ("precision", "recall", "density", "coverage")
MEMORISATION = ("nn_distance_ratio", "authenticity", "c_t")
CLOSED_FORMS = {
    "fid": true_frechet,
    "fid_infinity": true_frechet,
    "kid": true_kid,
    "mmd": true_mmd,
}
NOT_SIMULATED = {
    "critic_wasserstein": "its interval is that of one trained critic, and training takes seconds",
    "critic_gap": "as for critic_wasserstein",
    "spectral": "it is of images, and the populations are vectors",
    "pixel_distance_ratio": "as nn_distance_ratio, in pixels",
    "copies": "it is of images, and without copies it is 0",
}


@dataclass(frozen=True)
class Study:
    """Repeated measurements of one or more metrics on two sets of draws.

    Args:
        name: of the file that its repeats are kept in.
        kind: "p-values" of equal populations, or "intervals" between different ones.
        metrics: names in METRICS.
        n: examples of either set.
        repeats: how many.
    """

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    n: int
    repeats: int

    def repeat(self, number: int) -> dict[str, Value]:
        """Value and interval of every metric on the draws of one repeat."""
        model = REAL if self.kind == "p-values" else GENERATED
        drawn = evidence(model, self.n, self.name, number)
        measured = {name: BY_NAME[name].measure(drawn) for name in self.metrics}
        return {name: (found.value, found.low, found.high) for name, found in measured.items()}

    @property
    def question(self) -> Mapping[str, object]:
        """What the stored repeats answer: any change of it makes them void."""
        versions = {name: BY_NAME[name].version for name in self.metrics}
        numbers = [each.tolist() for model in (REAL, GENERATED) for each in vars(model).values()]
        populations = f"{derive_seed(numbers, TRAIN):x}"
        return {
            "kind": self.kind,
            "n": self.n,
            "versions": versions,
            "populations": populations,
        }


@dataclass(frozen=True)
class Verdicts:
    """Repeated comparisons of a model with itself, by other samples.

    Args:
        name: of the file that its repeats are kept in.
        settings: names in `comparisons.SETTINGS`, taken in turn.
        repeats: how many.
    """

    name: str
    settings: tuple[str, ...]
    repeats: int
    kind: Kind = "verdicts"

    def repeat(self, number: int) -> dict[str, Value]:
        """For every metric its p-value, that corrected, and 1 if it gave a verdict, else 0."""
        index, turn = divmod(number, len(self.settings))
        found = compare_with_itself(self.settings[turn], index)
        return {
            name: (p, found.corrected[name], float(name in found.decided))
            for name, p in found.p_values.items()
        }

    @property
    def question(self) -> Mapping[str, object]:
        """What the stored repeats answer."""
        versions = {metric.name: metric.version for metric in MEASURED}
        return {"kind": self.kind, "settings": self.settings, "versions": versions}


STUDIES: tuple[Study | Verdicts, ...] = (
    Study("mmd_p", "p-values", ("mmd_p",), n=100, repeats=500),
    Study("c2st_p", "p-values", ("c2st_p",), n=1_000, repeats=1_500),
    Study("nn_p", "p-values", ("nn_p",), n=200, repeats=500),
    Study("fid", "intervals", ("fid",), n=2_000, repeats=1_000),
    Study("fid_infinity", "intervals", ("fid_infinity",), n=1_000, repeats=500),
    Study("inception_score", "intervals", ("inception_score",), n=500, repeats=1_000),
    Study("kid", "intervals", ("kid",), n=500, repeats=1_000),
    Study("precision_recall", "intervals", PRECISION_RECALL, n=300, repeats=1_000),
    Study("mmd", "intervals", ("mmd",), n=300, repeats=1_000),
    Study("mmd_rq", "intervals", ("mmd_rq",), n=300, repeats=1_000),
    Study("wasserstein", "intervals", ("wasserstein",), n=200, repeats=1_000),
    Study("sliced", "intervals", ("sliced",), n=200, repeats=1_000),
    Study("max_sliced", "intervals", ("max_sliced",), n=200, repeats=400),
    Study("sinkhorn", "intervals", ("sinkhorn",), n=100, repeats=500),
    Study("nearest_neighbour", "intervals", ("nn_real", "nn_generated"), n=300, repeats=1_000),
    Study("classifier", "intervals", ("c2st",), n=300, repeats=500),
    Study("bins", "intervals", ("ndb", "bins_js"), n=500, repeats=1_000),
    Study("memorisation", "intervals", MEMORISATION, n=500, repeats=1_000),
    Verdicts("same_model", tuple(SETTINGS), repeats=200),
)
