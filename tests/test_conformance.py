"""Every model of the zoo, held to what its methods claim, on spaces small enough to enumerate."""

import pytest
import torch
from torch.distributions import Independent, Normal

from benchmark.conformance import check_latents, check_on_data, check_small
from benchmark.data import load_dataset
from benchmark.models import build
from benchmark.spec import DataSpec
from benchmark.suite import load_suite

MODELS = {
    model.name: model
    for suite in ("quick", "autoregressive")
    for model in load_suite(suite).models
}
OF_IMAGES = (  # alone
    "pixelcnn",
    "gated_pixelcnn",
    "pixelrnn",
    "pixelrnn_row",
    "pixelcnn_pp_classes",
)


def made(name, spec):
    return build(MODELS[name].factory, spec, MODELS[name].settings)


def cases(images, points):
    """(name, kind) of every model on images, and on points of those that take them."""
    of_points = [(name, points) for name in MODELS if name not in OF_IMAGES]
    return [*((name, images) for name in MODELS), *of_points]


def broken(checks):
    return [f"{check.promise}: {check.seen}" for check in checks if check.kept is False]


@pytest.mark.parametrize(("name", "images"), cases(True, False))
def test_probabilities_add_up_and_samples_follow_them(name, images):
    checks = check_small(lambda spec: made(name, spec), images)
    assert len(checks) == 3, checks  # it could be built
    assert not broken(checks)


@pytest.mark.parametrize(("name", "dataset"), cases("digits", "ring"))
def test_shapes_ranges_and_seeds_are_kept_on_data(name, dataset):
    data = load_dataset(dataset)
    model = made(name, data.spec)
    checks = check_on_data(model, data.train[:300], data.validation[:50])
    assert not broken([*checks, *check_latents(model, data.test[:4])])


class Cheat:
    """A density that is too large, and samples that do not follow it."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def sample(self, n):
        if self.spec.is_image:
            return torch.zeros(n, *self.spec.shape, dtype=torch.uint8)
        return torch.zeros(n, *self.spec.shape)

    def log_prob(self, x):
        return torch.full((len(x),), -4.0)

    log_prob_bound = log_prob


@pytest.mark.parametrize("images", [True, False], ids=["images", "points"])
def test_a_model_that_cheats_is_found_out(images):
    assert len(broken(check_small(Cheat, images))) == 3


class Careless(Cheat):
    def sample(self, n):
        return torch.rand(n, *self.spec.shape)

    def log_prob(self, x):
        return torch.ones(len(x), 1)


def test_wrong_shapes_and_types_are_found_out():
    model = Careless(DataSpec((1, 2, 2), levels=3))
    complaints = " ".join(
        broken(check_on_data(model, torch.zeros(5, 1, 2, 2), torch.zeros(5, 1, 2, 2)))
    )
    assert "images must be integers" in complaints
    assert "gave [5, 1] for 5 examples" in complaints


class Generates(Cheat):
    """A generator whose output is what the test asks for."""

    def __init__(self, change) -> None:
        super().__init__(DataSpec((1, 2, 2), levels=3))
        self.change = change

    def prior(self):
        return Independent(Normal(torch.zeros(2), 1.0), 1)

    def generate(self, z):
        return self.change(torch.rand(*z.shape[:-1], *self.spec.shape))


def generator_check(change):
    checks = check_latents(Generates(change), torch.zeros(4, 1, 2, 2, dtype=torch.uint8))
    (found,) = [check for check in checks if check.promise.startswith("generate(z)")]
    return found


def test_a_generator_keeps_its_promise():
    assert generator_check(lambda x: x).kept
    assert generator_check(lambda x: x).seen == "2 latents"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda x: x.flatten(2), r"z [3, 4, d] gave [3, 4, 4], not [3, 4, 1, 2, 2]"),
        (lambda x: x.flatten(0, 1), "gave [12, 1, 2, 2]"),
        (lambda x: x.round().long(), "gave torch.int64: images, too, are floats"),
        (lambda x: x / (x > 0.1), "generated numbers are not finite"),
    ],
)
def test_a_generator_that_breaks_its_promise_is_found_out(change, complaint):
    found = generator_check(change)
    assert found.kept is False
    assert complaint in found.seen


class Continues(Cheat):
    """Fills what it does not keep with the first row; `above` rows too many, if asked."""

    def __init__(self, spec: DataSpec, above: int = 0) -> None:
        super().__init__(spec)
        self.above = above

    def complete(self, x, rows):
        kept = rows - self.above
        return torch.cat([x[:, :, :kept], x[:, :, :1].expand(-1, -1, x.shape[2] - kept, -1)], 2)


@pytest.mark.parametrize(("above", "kept"), [(0, True), (1, False)])
def test_completions_keep_what_they_were_given_or_are_found_out(above, kept):
    spec = DataSpec((1, 4, 2), levels=3)
    x = torch.randint(3, (9, *spec.shape), dtype=torch.uint8)
    checks = check_on_data(Continues(spec, above), x, x)
    (found,) = [check for check in checks if check.promise.startswith("complete(x, rows)")]
    assert found.kept is kept
    assert "changed the first 2 rows" in found.seen or kept


def test_a_model_without_a_generator_promises_none():
    checks = check_latents(Cheat(DataSpec((1, 2, 2), levels=3)), torch.zeros(4, 1, 2, 2))
    assert [check.kept for check in checks] == [None] * 3
