from dataclasses import asdict, fields

import pytest

from benchmark.data import DATASETS
from benchmark.errors import UserError
from benchmark.manifest import DataConditions, Manifest, load_manifest
from benchmark.metrics import METRICS
from benchmark.metrics.base import Annealing, Conditions
from benchmark.models import load_factory
from benchmark.planning import Options, plan_cells
from benchmark.suite import load_suite, suite_names

SMALL = """
title = "Small"
description = "for a test"
seeds = [0]
[[datasets]]
name = "ring"
samples = 100
examples = 50
[[models]]
name = "noise"
factory = "zoo.baselines:Noise"
role = "floor"
"""

PUBLISHED = """
[[published]]
source = "Somebody 2017"
protocol = "A bound of 100 examples."
dataset = "ring"
model = "noise"
metric = "ais"
value = -3.5
error = 0.25
"""


def annealed(line):
    return SMALL.replace("[[models]]", f"[datasets.annealing]\n{line}\n[[models]]")


def written(tmp_path, text):
    path = tmp_path / "small.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", suite_names())
def test_every_shipped_suite_names_factories_that_exist(name):
    for model in load_suite(name).models:
        assert callable(load_factory(model.factory))


def test_a_suite_is_read_from_a_file_and_named_after_it(tmp_path):
    suite = load_suite(written(tmp_path, SMALL))
    assert suite.name == "small"
    assert suite.datasets[0].samples == 100


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (SMALL.replace("samples", "sample"), r"datasets\.0\.sample"),
        (SMALL.replace('"floor"', '"flor"'), r"models\.0\.role: Input should be 'model'"),
        (SMALL.replace("samples = 100", "samples = 1"), r"datasets\.0\.samples: .* 2"),
        (SMALL + "\n[", "is no TOML"),
        (
            SMALL.replace("examples", 'tables = ["mode"]\nexamples'),
            r"datasets\.0\.tables\.0: .*'modes'",
        ),
        (
            SMALL.replace("examples", 'metrics = ["fit"]\nexamples'),
            r"datasets\.0\.metrics\.0: .*no metric named 'fit'; did you mean 'fid'",
        ),
        (annealed("chain = 4"), r"datasets\.0\.annealing\.chain: "),
        (annealed("chains = 4.5"), r"datasets\.0\.annealing\.chains: .* integer"),
        (annealed("chains = 0"), r"datasets\.0\.annealing: .*chains must be at least 2, got 0"),
        (SMALL + PUBLISHED.replace("metric", "metrics"), r"published\.0\.metric"),
        (SMALL + PUBLISHED.replace("0.25", "-0.25"), r"published\.0\.error: .* 0"),
        (SMALL + PUBLISHED.replace("-3.5", "nan"), r"published\.0\.value: .* finite"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_path(tmp_path, wrong, complaint):
    with pytest.raises(UserError, match=complaint):
        load_suite(written(tmp_path, wrong))


def test_a_misspelt_suite_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="no suite named 'quik'; did you mean 'quick'"):
        load_suite("quik")


def test_a_suite_narrows_to_what_was_asked_in_its_own_order():
    suite = load_suite("quick").narrowed(["gan", "vae"], ["digits"], [7])
    assert [model.name for model in suite.models] == ["vae", "gan"]
    assert [entry.name for entry in suite.datasets] == ["digits"]
    assert suite.seeds == (7,)


def test_a_misspelt_model_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="no model named 'wgangp'; did you mean 'wgan_gp'"):
        load_suite("quick").narrowed(["wgangp"], None, None)


def test_settings_for_one_data_set_add_to_the_common_ones(tmp_path):
    text = SMALL + "[models.settings]\na = [0.5, 1]\nb = 2\n[models.settings_for.ring]\nb = 3\n"
    model = load_suite(written(tmp_path, text)).models[0]
    assert model.settings_on("ring") == {"a": [0.5, 1], "b": 3}
    assert model.settings_on("grid") == {"a": [0.5, 1], "b": 2}


def test_a_users_model_becomes_a_row_named_after_its_class():
    suite = load_suite("quick").with_model("my_model.py:MyModel")
    assert suite.models[-1].name == "MyModel"
    with pytest.raises(UserError, match="has a model named 'gan' already"):
        suite.with_model("other.py:gan")


def test_a_data_set_says_how_far_annealing_goes_and_keeps_the_other_defaults(tmp_path):
    entry = load_suite(written(tmp_path, annealed("chains = 4"))).datasets[0]
    assert entry.annealing == Annealing(chains=4)
    assert load_suite(written(tmp_path, SMALL)).datasets[0].annealing == Annealing()


def asked_under(tmp_path, line):
    text = SMALL.replace("[[models]]", f"{line}\n[[models]]")
    options = Options(out=tmp_path / "reports", runs=tmp_path / "runs", device="cpu")
    (plan,) = plan_cells(load_suite(written(tmp_path, text)), options)
    return {metric.name: metric for metric, _ in plan.questions}


def test_what_is_trained_comes_first_and_what_is_not_fitted_last_in_each_seed(tmp_path):
    suite = load_suite("quick")
    rank = {"model": 0, "baseline": 1, "ceiling": 2, "floor": 2}
    plans = plan_cells(suite, Options(out=tmp_path, runs=tmp_path, device="cpu"))
    for seed in suite.seeds:
        ranks = [rank[plan.role] for plan in plans if plan.identity.seed == seed]
        assert ranks == sorted(ranks)
        assert set(ranks) == {0, 1, 2}
    seeds = [plan.identity.seed for plan in plans]
    assert seeds == sorted(seeds)
    assert len(plans) == len(suite.seeds) * len(suite.datasets) * len(suite.models)


@pytest.mark.parametrize(
    ("suite_says", "device", "asked", "found"),
    [
        ("false", "cpu", None, [False, False]),
        ("true", "cpu", None, [False, True]),
        ("true", "cpu", True, [True, True]),
        ("true", "cpu", False, [False, False]),
        ("false", "cuda", None, [True, True]),
    ],
)
def test_seeds_train_together_where_a_gpu_or_the_suite_or_the_user_wants_it(
    tmp_path, monkeypatch, suite_says, device, asked, found
):
    monkeypatch.setattr("benchmark.planning.resolve_device", lambda name: name)
    grid = '[[datasets]]\nname = "grid"\nsamples = 100\nexamples = 50\n'
    text = SMALL.replace("[[models]]", f'{grid}[[models]]\napart = ["ring"]')
    text = f"together = {suite_says}\n{text}"
    options = Options(out=tmp_path, runs=tmp_path, device=device, together=asked)
    plans = plan_cells(load_suite(written(tmp_path, text)), options)
    assert [(plan.identity.dataset, plan.together) for plan in plans] == [
        ("ring", found[0]),
        ("grid", found[1]),
    ]


def test_a_data_set_may_have_seeds_of_its_own_unless_others_are_asked_for(tmp_path):
    fewer = '[[datasets]]\nname = "grid"\nsamples = 100\nexamples = 50\nseeds = [1]\n[[models]]'
    text = SMALL.replace("seeds = [0]", "seeds = [2, 0, 1]").replace("[[models]]", fewer)
    suite = load_suite(written(tmp_path, text))

    def cells(suite):
        plans = plan_cells(suite, Options(out=tmp_path, runs=tmp_path, device="cpu"))
        return [(plan.identity.dataset, plan.identity.seed, plan.frames) for plan in plans]

    assert cells(suite) == [
        ("ring", 2, False),
        ("ring", 0, True),
        ("ring", 1, False),
        ("grid", 1, True),
    ]
    asked = suite.narrowed(None, None, [7])
    assert cells(asked) == [("ring", 7, True), ("grid", 7, True)]


def test_a_data_set_may_ask_for_a_few_tables_and_metrics_alone(tmp_path):
    asked = asked_under(tmp_path, 'tables = ["modes", "cost"]\nmetrics = ["wasserstein"]')
    assert {metric.table for metric in asked.values()} == {"modes", "cost", "distances"}
    assert [name for name in asked if asked[name].table == "distances"] == ["wasserstein"]
    assert len(asked) == 1 + sum(metric.table in ("modes", "cost") for metric in METRICS)
    assert list(asked_under(tmp_path, "")) == [metric.name for metric in METRICS]


def test_no_network_is_looked_for_where_no_metric_uses_one(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.planning.network_name_for", None)
    assert asked_under(tmp_path, 'tables = ["modes"]')
    with pytest.raises(TypeError, match="NoneType"):
        asked_under(tmp_path, 'metrics = ["fid"]')


CLAIM = """
[[models]]
name = "gan"
factory = "zoo.gan:GAN"
[[claims]]
sentence = "A GAN captures more modes than noise."
source = "Somebody 2017"
dataset = "ring"
better = "gan"
than = "noise"
metric = "modes"
"""


def test_claims_are_read_and_kept_beside_the_results(tmp_path):
    suite = load_suite(written(tmp_path, SMALL + CLAIM))
    (claim,) = suite.claims
    assert (claim.better, claim.than, claim.metric) == ("gan", "noise", "modes")
    kept = Manifest(
        title="", description="", budget=1, models=(), datasets={}, claims=suite.claims
    )
    kept.save(tmp_path)
    assert load_manifest(tmp_path) == kept


def test_conditions_come_back_from_the_manifest_as_they_were(tmp_path):
    given = Conditions(
        samples=300,
        examples=200,
        network="digits-cnn",
        reference="train",
        annealing=Annealing(examples=20, chains=4),
        metrics=("nll", "modes"),
        quadrature=True,
    )
    plain = {item.name: item.default for item in fields(Conditions)}
    assert all(value != plain[name] for name, value in vars(given).items())
    stored = DataConditions(**asdict(given))
    kept = Manifest(title="", description="", budget=1, models=(), datasets={"ring": stored})
    kept.save(tmp_path)
    found = load_manifest(tmp_path)
    assert found is not None
    assert found.datasets["ring"].conditions() == given


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (CLAIM.replace('"ring"', '"rings"'), "claims: .*no data set named 'rings'; did you mean"),
        (CLAIM.replace('than = "noise"', 'than = "nois"'), "claims: .*no model named 'nois'; did"),
        (CLAIM.replace('better = "gan"', 'better = "gn"'), "claims: .*no model named 'gn'; did"),
        (
            CLAIM.replace('than = "noise"', 'than = "gan"'),
            "'gan' is said to be better than itself",
        ),
        (CLAIM.replace('"modes"', '"parameters"'), "metric: .*parameters has no better way"),
        (CLAIM.replace('"modes"', '"mode"'), "metric: .*no metric named 'mode'; did you mean"),
    ],
)
def test_a_claim_about_what_is_not_there_is_refused(tmp_path, wrong, complaint):
    with pytest.raises(UserError, match=complaint):
        load_suite(written(tmp_path, SMALL + wrong))


def test_published_values_are_read_with_their_source(tmp_path):
    suite = load_suite(written(tmp_path, SMALL + PUBLISHED))
    entry = suite.published[0]
    assert (entry.source, entry.metric, entry.value, entry.error) == (
        "Somebody 2017",
        "ais",
        -3.5,
        0.25,
    )
    assert suite.narrowed(["noise"], None, None).published == suite.published


@pytest.mark.parametrize("name", suite_names())
def test_data_sets_and_published_values_of_shipped_suites_name_what_there_is(name):
    suite = load_suite(name)
    datasets = {entry.name for entry in suite.datasets}
    assert datasets <= {source.name for source in DATASETS}
    rows = {(dataset, model.name) for dataset in datasets for model in suite.models}
    assert {(entry.dataset, entry.model) for entry in suite.published} <= rows
    for model in suite.models:
        assert {*model.settings_for, *model.apart} <= datasets


def test_the_decoders_suite_has_the_papers_table():
    suite = load_suite("decoders")
    table = {(entry.model, entry.metric): entry.value for entry in suite.published}
    assert len(table) == len(suite.published) == 6 * 4 + 2
    assert table["vae_50", "ais"] == 991.435
    assert table["gmmn_10", "parzen"] == 262.73
    assert table["vae_10", "iwae"] - table["vae_10", "ais"] == pytest.approx(-218.909)
    assert table["gan_50", "bdmc_gap"] == 10.045
    annealing = suite.datasets[0].annealing
    assert (annealing.chains, annealing.temperatures, annealing.leapfrog) == (16, 10_000, 10)
    assert (annealing.start, annealing.schedule, annealing.examples) == ("prior", "sigmoid", 1_000)
