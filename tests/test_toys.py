"""The mode-collapse battery is fair: rows that differ in a method differ in nothing else."""

import pytest

from benchmark.data import DATASETS, load_dataset
from benchmark.models import load_factory
from benchmark.planning import Options, plan_cells
from benchmark.suite import load_suite

TOYS = load_suite("toys")
OTHER_MOMENTUM = "gan_momentum"  # the one row that is about the optimiser
GANS = [
    entry
    for entry in TOYS.models
    if entry.factory == "zoo.gan:GAN" and entry.name != OTHER_MOMENTUM
]
SHARED = ("latents", "width", "steps", "batch_size", "learning_rate", "betas", "ema_decay")
ROWS = {entry.name: entry for entry in TOYS.models}


@pytest.mark.parametrize("dataset", [entry.name for entry in TOYS.datasets])
def test_every_gan_has_the_same_networks_steps_and_optimiser(dataset):
    assert len(GANS) == 18
    settings = [entry.settings_on(dataset) for entry in GANS]
    assert len({str([its[name] for name in SHARED]) for its in settings}) == 1
    methods = [{k: v for k, v in its.items() if k not in SHARED} for its in settings]
    assert len({tuple(sorted(its.items())) for its in methods}) == len(GANS)


@pytest.mark.parametrize("dataset", [entry.name for entry in TOYS.datasets])
def test_the_row_of_another_momentum_differs_in_that_alone(dataset):
    plain, other = (ROWS[name].settings_on(dataset) for name in ("gan", OTHER_MOMENTUM))
    assert other == plain | {"betas": [0.9, 0.999]} != plain


@pytest.mark.parametrize("dataset", [entry.name for entry in TOYS.datasets])
def test_every_model_makes_as_many_steps_with_as_many_examples(dataset):
    budgets = {
        (its["steps"], its["batch_size"])
        for its in (entry.settings_on(dataset) for entry in TOYS.models)
        if "steps" in its
    }
    assert len(budgets) == 1


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_model_takes_its_settings(name):
    spec = load_dataset("ring").spec
    model = load_factory(ROWS[name].factory)(spec, **ROWS[name].settings_on("ring"))
    assert model.spec == spec


def test_the_settings_for_a_data_set_are_of_one_that_is_there():
    names = {entry.name for entry in TOYS.datasets}
    assert names <= {source.name for source in DATASETS}
    assert {name for entry in TOYS.models for name in entry.settings_for} <= names


def test_every_claim_is_about_something_that_is_measured_and_is_made_once():
    asked = {entry.name: entry.asked for entry in TOYS.datasets}
    for claim in TOYS.claims:
        assert claim.metric in asked[claim.dataset]
    made = [(claim.dataset, claim.better, claim.than, claim.metric) for claim in TOYS.claims]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("dataset", [entry.name for entry in TOYS.datasets])
def test_the_box_of_noise_holds_all_held_out_points(dataset):
    data = load_dataset(dataset)
    noise = load_factory(ROWS["noise"].factory)(data.spec, **ROWS["noise"].settings_on(dataset))
    noise.fit(data.train, data.validation, 1.0, None)
    assert noise.log_prob(data.test).isfinite().all()


@pytest.mark.parametrize("entry", TOYS.datasets, ids=lambda entry: entry.name)
def test_likelihoods_are_integrated_where_generators_have_two_latents(entry):
    latents = {gan.settings_on(entry.name)["latents"] for gan in GANS}
    assert entry.quadrature == (latents == {2})
    plans = plan_cells(TOYS.model_copy(update={"datasets": (entry,), "seeds": (0,)}), Options())
    asked = {plan.conditions.quadrature for plan in plans}
    assert asked == {entry.quadrature}
