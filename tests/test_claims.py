import csv
import io
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np
import pytest
from factories import cell, full_suite, result
from scipy import stats

from benchmark.report import write_report
from benchmark.report.claims import sign_flip_p, trials
from benchmark.report.claims_page import claims_page


@dataclass(frozen=True)
class Said:
    better: str = "vae_gan"
    than: str = "gan"
    metric: str = "modes"
    dataset: str = "ring"
    sentence: str = "An encoder recovers modes"
    source: str = "Somebody 2017"


def cells_of(model, values, metric="modes", dataset="ring", first=0):
    return [
        cell(dataset, model, seed, [result(metric, float(value))])
        for seed, value in enumerate(values, start=first)
    ]


def tried(ours, theirs, metric="modes", others=()):
    cells = cells_of("vae_gan", ours, metric) + cells_of("gan", theirs, metric)
    return trials(cells, [Said(metric=metric), *others])[0]


def flips_one_by_one(leads):
    """The share of all sign choices with a mean as large, by going through them."""
    means = [
        fmean(sign * lead for sign, lead in zip(signs, leads, strict=True))
        for signs in product((-1, 1), repeat=len(leads))
    ]
    return fmean(mean >= fmean(leads) - 1e-12 for mean in means)


@pytest.mark.parametrize("seeds", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(3))
def test_the_p_value_counts_every_way_to_set_the_signs(seeds, seed):
    rng = np.random.default_rng(seed)
    leads = (rng.standard_normal(seeds) + 0.5).tolist()
    assert sign_flip_p(leads) == pytest.approx(flips_one_by_one(leads), abs=1e-12)
    modes = rng.integers(-2, 4, seeds).astype(float).tolist()  # with ties and zeros
    assert sign_flip_p(modes) == pytest.approx(flips_one_by_one(modes), abs=1e-12)


def test_the_p_value_is_scipys():
    leads = np.random.default_rng(4).standard_normal(9) + 0.4
    theirs = stats.permutation_test(
        (leads,), np.mean, permutation_type="samples", alternative="greater", n_resamples=10_000
    )
    assert sign_flip_p(leads.tolist()) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_same_lead_in_every_seed_has_the_least_p_value_there_is():
    assert sign_flip_p([3.0] * 5) == 1 / 32
    assert sign_flip_p([0.1, 0.2, 0.3] * 3 + [0.7]) == 1 / 1024
    assert sign_flip_p([-3.0] * 5) == 1.0


def test_seeds_without_a_difference_tell_nothing_either_way():
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_p([2.0, 1.0, 0.0, 0.0]) == sign_flip_p([2.0, 1.0])


def test_thirty_seeds_are_counted_in_no_time():
    assert sign_flip_p([1.0] * 30) == 2.0**-30


def test_p_values_of_models_that_do_not_differ_are_no_smaller_than_chance_allows():
    rng = np.random.default_rng(1)
    found = [sign_flip_p(rng.standard_normal(7).tolist()) for _ in range(2_000)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=0.03)


def test_a_claim_holds_where_the_model_leads_in_enough_seeds():
    trial = tried([8, 8, 8, 7, 8], [5, 6, 7, 3, 7])
    assert (trial.verdict, trial.why) == ("holds", "")
    assert trial.difference == pytest.approx(2.2)
    assert trial.p_value == 1 / 32


def test_the_opposite_of_a_claim_contradicts_it():
    trial = tried([5, 6, 7, 3, 7], [8, 8, 8, 7, 8])
    assert (trial.verdict, trial.why) == ("contradicted", "p = 0.031 the other way")
    assert trial.difference == pytest.approx(-2.2)


def test_lower_is_a_lead_where_lower_is_better():
    trial = tried([0.1, 0.2, 0.1, 0.3, 0.2], [0.5, 0.6, 0.4, 0.9, 0.7], metric="mode_kl")
    assert trial.verdict == "holds"
    assert trial.difference == pytest.approx(-0.44)


def test_seeds_are_paired_by_number_and_not_by_place():
    ours = cells_of("vae_gan", [1, 2, 3], first=1)
    theirs = cells_of("gan", [9, 1, 1, 1])
    (trial,) = trials(ours + theirs[::-1], [Said()])
    assert trial.pairs == {1: (1.0, 1.0), 2: (2.0, 1.0), 3: (3.0, 1.0)}


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        ([8] * 6, [8] * 6, "both have 8.0 in every seed"),
        ([8, 7, 8], [8, 7, 8], "both have the same value in every seed"),
        ([8, 8, 8, 8], [5, 5, 5, 5], "there are 4 seeds, of which no p below 0.062 can come"),
        ([8] * 9, [8] * 8 + [7], "they differ in 1 seed, of which no p below 0.500 can come"),
        ([8, 7, 8, 6, 8, 7], [7, 8, 7, 7, 8, 6], "ahead in 3 of 6 seeds, behind in 2"),
    ],
)
def test_an_undecided_claim_says_why(ours, theirs, why):
    trial = tried(ours, theirs)
    assert (trial.verdict, trial.why) == ("undecided", why)


def test_many_claims_need_smaller_p_values():
    flat = [Said(better="vae"), Said(better="wgan_gp")]
    cells = [c for model in ("vae", "wgan_gp") for c in cells_of(model, [5, 6, 7, 3, 7])]
    cells += cells_of("vae_gan", [8, 8, 8, 7, 8]) + cells_of("gan", [5, 6, 7, 3, 7])
    trial = trials(cells, [Said(), *flat])[0]
    assert trial.corrected == pytest.approx(3 / 32)
    assert (trial.verdict, trial.why) == ("undecided", "p is small by itself, not among 3 claims")


def test_what_can_not_be_tested_says_why_and_is_not_counted_among_the_claims():
    cells = cells_of("vae_gan", [8] * 5) + cells_of("gan", [5] * 5)
    cells += [cell("ring", "vae", 0, [result("modes", reason="no modes\nare known")])]
    cells += [cell("ring", "wgan_gp", 0, failure="out of memory")]
    claims = [Said(), Said(better="ppca"), Said(better="vae"), Said(better="wgan_gp")]
    holds, *others = trials(cells, claims)
    assert holds.verdict == "holds"
    assert holds.corrected == holds.p_value
    assert [trial.verdict for trial in others] == ["not tested"] * 3
    assert [trial.why for trial in others] == [
        "ppca: not run",
        "vae: no modes are known",
        "wgan_gp: failed: out of memory",
    ]


def test_models_without_a_seed_in_common_are_not_tested():
    cells = cells_of("vae_gan", [8]) + cells_of("gan", [5], first=1)
    (trial,) = trials(cells, [Said()])
    assert (trial.verdict, trial.why) == ("not tested", "vae_gan and gan have no seed in common")


def diverged(model, seed, results=()):
    return cell("ring", model, seed, results, training={"diverged": {"step": 7, "steps": 9}})


def ended(metric="mode_kl"):
    return [result(metric, reason="training diverged at step 7 of 9")]


def test_diverged_training_loses_by_as_much_as_any_seed_was_won_or_lost():
    cells = cells_of("vae_gan", [0.1, 0.2, 0.1, 0.9], "mode_kl")
    cells += cells_of("gan", [0.5, 0.6, 0.4, 0.7], "mode_kl")
    cells += [diverged("gan", 4, ended()), *cells_of("vae_gan", [0.3], "mode_kl", first=4)]
    cells += [diverged("vae_gan", 5, ended()), *cells_of("gan", [0.3], "mode_kl", first=5)]
    cells += [diverged("vae_gan", 6, ended()), diverged("gan", 6, ended())]
    (trial,) = trials(cells, [Said(metric="mode_kl")])
    assert trial.leads == pytest.approx([0.4, 0.4, 0.3, -0.2, 0.4, -0.4, 0.0])
    assert trial.diverged == {4: 1, 5: -1, 6: 0}
    assert trial.difference == pytest.approx(-0.225)  # of the pairs
    assert trial.p_value == pytest.approx(flips_one_by_one(trial.leads))


def test_surviving_a_training_that_diverges_elsewhere_is_a_lead_by_itself():
    cells = cells_of("vae_gan", [0.1] * 6, "mode_kl")
    cells += [diverged("gan", seed, ended()) for seed in range(6)]
    (trial,) = trials(cells, [Said(metric="mode_kl")])
    assert (trial.p_value, trial.difference, trial.verdict) == (1 / 64, None, "holds")
    both = [diverged(model, seed, ended()) for model in ("vae_gan", "gan") for seed in range(3)]
    (trial,) = trials(both, [Said(metric="mode_kl")])
    assert (trial.verdict, trial.why) == ("undecided", "both diverged in every seed")


def test_a_seed_that_failed_is_no_lead_of_anyone():
    cells = cells_of("vae_gan", [0.1, 0.2], "mode_kl") + cells_of("gan", [0.5], "mode_kl")
    cells += [cell("ring", "gan", 1, failure="out of memory")]
    cells += [diverged("vae_gan", 2, ended()), cell("ring", "gan", 2, failure="out of memory")]
    (trial,) = trials(cells, [Said(metric="mode_kl")])
    assert (dict(trial.pairs), dict(trial.diverged)) == ({0: (0.1, 0.5)}, {})


def test_the_page_says_how_many_seeds_diverged_where_they_have_no_value():
    cells = cells_of("vae_gan", [0.1] * 5, "mode_kl") + cells_of("gan", [0.4] * 4, "mode_kl")
    page = claims_page([*cells, diverged("gan", 4, ended())], (), (), [Said(metric="mode_kl")])
    ((_, (row,)),) = page.chapters[0].listings[0].groups
    assert [row[column][0] for column in (4, 5, 7, 8)] == [
        "0.400 ± 0.000",
        "−0.300",
        "0.100 / 0.400",
        "5 (1 diverged)",
    ]
    (line,) = csv.DictReader(io.StringIO(page.files["tables/claims_ring.csv"].decode()))
    assert (line["seeds"], line["diverged"]) == ("5", "1")
    alone = [*cells_of("vae_gan", [0.1], "mode_kl"), diverged("gan", 0, ended())]
    ((_, (row,)),) = (
        claims_page(alone, (), (), [Said(metric="mode_kl")]).chapters[0].listings[0].groups
    )
    assert [text for text, _ in row][3:9] == [*"———", "— / —", "0.100 / —", "1 (1 diverged)"]


def battery():
    cells = cells_of("vae_gan", [8, 8, 8, 7, 8]) + cells_of("gan", [5, 6, 7, 3, 0])
    cells[-1] = cell(
        "ring", "gan", 4, [result("modes", 0.0)], training={"diverged": {"step": 7, "steps": 9}}
    )
    cells += [
        cell("ring", "vae", seed, [result("modes", 8.0), result("high_quality", 0.9 + seed / 100)])
        for seed in range(5)
    ]
    return cells + cells_of("collapsed", [1] * 5) + cells_of("data", [8] * 5)


def test_the_page_says_each_verdict_and_who_has_every_mode():
    page = claims_page(battery(), (), (), [Said(), Said(better="vae")])
    (chapter,) = page.chapters
    assert chapter.sentences == [
        "Of 2 claims: holds: 2.",
        "All 8 modes in every seed: vae (High quality 0.920).",
        "All 8 modes in some seeds: vae_gan (4 of 5).",
        "All 8 modes in no seed: gan.",
        "Training diverged: gan (1 of 5 seeds).",
    ]
    ((_, rows),) = chapter.listings[0].groups
    assert [text for text, _ in rows[0]] == [
        "An encoder recovers modes (Somebody 2017)",
        "holds",
        "Modes of vae_gan and gan",
        "7.8 ± 0.4",
        "4.2 ± 2.8",
        "3.6",
        "— / —",
        "— / —",
        "5",
        "0.031",
        "0.031",
    ]
    assert rows[1][6] == ("0.920 / —", pytest.approx(0.92))


def test_what_was_not_tested_has_dashes_for_numbers():
    page = claims_page(battery(), (), (), [Said(better="ppca"), Said()])
    ((_, (row, _)),) = page.chapters[0].listings[0].groups
    assert [text for text, _ in row][1:] == [
        "not tested: ppca: not run",
        "Modes of ppca and gan",
        *"————————",
    ]
    line, _ = csv.DictReader(io.StringIO(page.files["tables/claims_ring.csv"].decode()))
    assert (line["p"], line["verdict"], line["why"]) == ("", "not tested", "ppca: not run")


def test_the_csv_holds_the_numbers_unrounded():
    page = claims_page(battery(), (), (), [Said()])
    (row,) = csv.DictReader(io.StringIO(page.files["tables/claims_ring.csv"].decode()))
    assert float(row["difference"]) == pytest.approx(3.6)
    assert (float(row["p"]), float(row["reverse_p"])) == (1 / 32, 1.0)
    assert (row["verdict"], row["seeds"], row["metric"]) == ("holds", "5", "modes")
    page = claims_page(battery(), (), (), [Said(better="vae")])
    (row,) = csv.DictReader(io.StringIO(page.files["tables/claims_ring.csv"].decode()))
    assert float(row["better_high_quality"]) == pytest.approx(0.92)
    assert row["than_high_quality"] == row["better_mode_kl"] == ""


def test_claims_about_what_was_not_run_have_no_page():
    cells = full_suite(("ring",), ("vae", "gan"), (0,))
    assert claims_page(cells, (), (), [Said(dataset="grid"), Said(better="ppca")]) is None
    assert claims_page(cells, (), (), []) is None


def test_the_report_links_the_page_and_removes_it_when_nothing_is_claimed(tmp_path):
    cells = full_suite(("ring",), ("vae_gan", "gan"), (0, 1))
    for claims in ([Said()], []):
        write_report(tmp_path, title="Toys", cells=cells, models=(), claims=claims)
        assert (tmp_path / "claims.html").exists() == bool(claims)
        assert (tmp_path / "tables/claims_ring.csv").exists() == bool(claims)
        assert ("claims.html" in (tmp_path / "index.html").read_text()) == bool(claims)
