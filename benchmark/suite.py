"""A suite file, read and validated: which models, on which data, how often and how long."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from benchmark.errors import UserError, unknown_name
from benchmark.metrics import METRICS
from benchmark.metrics.base import Annealing, Table

Scalar = str | int | float | bool
Setting = Scalar | list[Scalar]
Role = Literal["model", "baseline", "ceiling", "floor"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _known(kind: str, name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise ValueError(str(unknown_name(kind, name, names)))
    return name


def _metric(name: str) -> str:
    return _known("metric", name, [metric.name for metric in METRICS])


def _directed(name: str) -> str:
    metric = next(metric for metric in METRICS if metric.name == _metric(name))
    if metric.better is None:
        raise ValueError(f"{name} has no better way, so no model can be better in it")
    return name


class DataEntry(_Frozen):
    """A data set and the conditions under which every model is measured on it.

    Measured are the metrics of `tables` and those named in `metrics`; all where both are empty.
    `seeds` are those of the suite where there are none. With `quadrature`, log p(x) of models with
    one or two latents is integrated, on all `examples`, where it would be annealed.
    """

    name: str
    samples: int = Field(ge=2)
    examples: int = Field(ge=2)
    annealing: Annealing = Annealing()
    quadrature: bool = False
    seeds: tuple[int, ...] = ()
    tables: tuple[Table, ...] = ()
    metrics: tuple[Annotated[str, AfterValidator(_metric)], ...] = ()

    @property
    def asked(self) -> tuple[str, ...] | None:
        """Names of the metrics to be measured, None for all."""
        if not self.tables and not self.metrics:
            return None
        return tuple(m.name for m in METRICS if m.table in self.tables or m.name in self.metrics)


class ModelEntry(_Frozen):
    """A model by the path of its factory.

    `settings_for` adds to `settings` on one data set. On the data sets of `apart` a CPU trains
    its seeds one after the other even where the suite has them train together.
    """

    name: str
    factory: str
    role: Role = "model"
    settings: dict[str, Setting] = {}
    settings_for: dict[str, dict[str, Setting]] = {}
    apart: tuple[str, ...] = ()

    def settings_on(self, dataset: str) -> dict[str, Setting]:
        return {**self.settings, **self.settings_for.get(dataset, {})}


class PublishedEntry(_Frozen):
    """What a paper reports for a row of ours, and in one sentence how it was measured there.

    `error` is what the paper prints after its plus-minus; the protocol says what that is.
    """

    source: str
    protocol: str
    dataset: str
    model: str
    metric: str
    value: float = Field(allow_inf_nan=False)
    error: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class ClaimEntry(_Frozen):
    """That a paper says one model is better than another in a metric, and `sentence` how."""

    sentence: str
    source: str
    dataset: str
    better: str
    than: str
    metric: Annotated[str, AfterValidator(_directed)]


class Suite(_Frozen):
    """Every model on every data set with every seed, and what others reported for them.

    `together`: whether the seeds of a model train as one batched model on a CPU too.
    """

    name: str
    title: str
    description: str
    seeds: tuple[int, ...]
    together: bool = False
    datasets: tuple[DataEntry, ...]
    models: tuple[ModelEntry, ...]
    published: tuple[PublishedEntry, ...] = ()
    claims: tuple[ClaimEntry, ...] = ()

    @field_validator("claims")
    @classmethod
    def _claims_name_what_is_there(
        cls, claims: tuple[ClaimEntry, ...], info: ValidationInfo
    ) -> tuple[ClaimEntry, ...]:
        models = [entry.name for entry in info.data.get("models", ())]
        datasets = [entry.name for entry in info.data.get("datasets", ())]
        for claim in claims:
            _known("data set", claim.dataset, datasets)
            _known("model", claim.better, models)
            _known("model", claim.than, models)
            if claim.better == claim.than:
                raise ValueError(f"{claim.better!r} is said to be better than itself")
        return claims

    def narrowed(
        self,
        models: Sequence[str] | None,
        datasets: Sequence[str] | None,
        seeds: Sequence[int] | None,
    ) -> "Suite":
        """The part of the suite that was asked for, in the suite's own order.

        A data set that the suite does not list but the program knows is taken with the
        conditions of the suite's last one.
        """
        update: dict[str, object] = {}
        if models is not None:
            _check_names("model", models, [entry.name for entry in self.models])
            update["models"] = tuple(m for m in self.models if m.name in models)
        if datasets is not None:
            listed = {entry.name: entry for entry in self.datasets}
            last = self.datasets[-1]
            update["datasets"] = tuple(
                listed.get(name, last.model_copy(update={"name": name})) for name in datasets
            )
        suite = self.model_copy(update=update)
        return suite if seeds is None else suite._on_seeds(tuple(seeds))

    def _on_seeds(self, seeds: tuple[int, ...]) -> "Suite":
        """The suite with these seeds on every data set."""
        datasets = tuple(entry.model_copy(update={"seeds": ()}) for entry in self.datasets)
        return self.model_copy(update={"seeds": seeds, "datasets": datasets})

    def seeds_on(self, entry: DataEntry) -> tuple[int, ...]:
        """The seeds that a data set of the suite is run with."""
        return entry.seeds or self.seeds

    def with_model(self, factory: str) -> "Suite":
        """The suite and one more row: a model by the path of its factory, named after it."""
        name = factory.rpartition(":")[2]
        if name in {entry.name for entry in self.models}:
            raise UserError(f"the suite has a model named {name!r} already: rename your class")
        return self.model_copy(
            update={"models": (*self.models, ModelEntry(name=name, factory=factory))}
        )


def suite_names() -> list[str]:
    """The suites that come with the program."""
    folder = resources.files("benchmark.suites")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_suite(name: str) -> Suite:
    """Reads a suite by its name, or by the path of a TOML file.

    Raises:
        UserError: there is no such suite, or the file has a wrong key or value (named by path).
    """
    if name.endswith(".toml"):
        return _parse(Path(name).stem, _read(Path(name)), name)
    if name not in suite_names():
        raise unknown_name("suite", name, suite_names())
    text = (resources.files("benchmark.suites") / f"{name}.toml").read_text(encoding="utf-8")
    return _parse(name, text, f"suite {name}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the suite {path}: {error.strerror}") from error


def _parse(name: str, text: str, where: str) -> Suite:
    try:
        return Suite(name=name, **tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where} is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {place}: {first['msg']}") from error


def _check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)
