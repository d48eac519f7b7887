"""Finding a model's factory by its path, ours and a user's by the same door."""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark.errors import UserError, unknown_name
from benchmark.spec import CAPABILITIES, DataSpec, LabelLearner, Sampler

Factory = Callable[..., Any]


def load_factory(path: str) -> Factory:
    """The class or function that `path` names.

    Args:
        path: `package.module:Name` or `some/file.py:Name`.

    Raises:
        UserError: no such file, module or name, or the file itself fails to import.
    """
    place, separator, name = path.rpartition(":")
    if not separator or not place or not name:
        raise UserError(f"{path!r} names no model: write FILE.py:CLASS or package.module:CLASS")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    factory = getattr(module, name, None)
    if factory is None:
        own = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise unknown_name(f"model in {place}", name, own)
    if not callable(factory):
        raise UserError(f"{path} is no class or function but {type(factory).__name__}")
    return factory


def code_hash(path: str) -> str | None:
    """Content hash of a factory's code: an edited model is trained anew.

    Its code is the file that holds it and, in a package, the modules of that package that this
    one imports, and so on. None where the file cannot be found, which `load_factory` says in
    words.
    """
    place = path.rpartition(":")[0]
    file = Path(place) if place.endswith(".py") else _source(place)
    if file is None or not file.is_file():
        return None
    package = "" if place.endswith(".py") else place.partition(".")[0]
    content = b"".join(code.read_bytes() for code in _with_imports(file, package))
    return hashlib.sha256(content).hexdigest()[:16]


@cache
def _with_imports(file: Path, package: str) -> tuple[Path, ...]:
    """The file and all that it needs of the package, sorted."""
    found, waiting = {file}, [file]
    while waiting:
        tree = ast.parse(waiting.pop().read_bytes())
        names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        for name in filter(None, names):
            code = _source(name) if name.partition(".")[0] == package else None
            if code is not None and code not in found:
                found.add(code)
                waiting.append(code)
    return tuple(sorted(found))


def build(path: str, spec: DataSpec, settings: Mapping[str, Any]) -> Any:
    """Calls the factory, and checks that what it gives can at least sample.

    Raises:
        UserError: the constructor does not take these arguments, or there is no `sample`.
    """
    factory = load_factory(path)
    try:
        model = factory(spec, **settings)
    except TypeError as error:
        raise UserError(
            f"{path} cannot be built from a DataSpec and {dict(settings)}: {error}"
        ) from error
    if not hasattr(model, "spec"):
        model.spec = spec
    if not isinstance(model, Sampler):
        raise UserError(f"{path} has no method sample(n): every model must give samples")
    return model


def capabilities(model: object) -> list[str]:
    """Which protocols of the contract a model satisfies, by the names of their methods."""
    return [name for name, protocol in CAPABILITIES.items() if isinstance(model, protocol)]


def classes_of(model: object) -> int:
    """How many classes a model learns from labels; 0 for a model without."""
    return model.classes.count if isinstance(model, LabelLearner) else 0


def _source(name: str) -> Path | None:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found is not None and found.origin else None


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"cannot import {name}: {error}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no file {path}: give the path of the file that holds your model")
    name = f"_user_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} fails to import: {type(error).__name__}: {error}") from error
    return module
