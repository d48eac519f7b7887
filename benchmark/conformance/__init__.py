"""Whether a model keeps the promises of `benchmark.spec`.

The same checks run over the zoo in the tests and over a user's model in `check`.
"""

from functools import partial
from pathlib import Path

from benchmark.conformance.probability import check_small
from benchmark.conformance.promises import Check, attempt
from benchmark.conformance.shapes import check_latents, check_on_data, restores
from benchmark.data import load_dataset
from benchmark.models import build, capabilities

__all__ = ["Check", "check_latents", "check_model", "check_on_data", "check_small"]


def check_model(factory: str, data: str, data_root: Path | None = None) -> list[Check]:
    """Checks a model on the spec of a data set, and on the tiny space of the same kind.

    Raises:
        UserError: the factory or the data cannot be found, or the constructor refuses.
    """
    dataset = load_dataset(data, data_root)
    make = partial(build, factory, settings={})
    model = make(dataset.spec)
    checks = [Check("can do", True, ", ".join(capabilities(model)))]
    checks += check_on_data(model, dataset.train[:500], dataset.validation[:100])
    if any(check.kept is False for check in checks):
        return checks
    checks += check_latents(model, dataset.test[:4])
    checks.append(attempt("a copy restores from its state_dict", lambda: restores(make, model)))
    return checks + check_small(make, dataset.spec.is_image)
