import math
from dataclasses import replace

import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images
from scipy.stats import binom, binomtest, kstest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.classifier_test import ClassifierTest, accuracy, classifier_test, p_value
from benchmark.metrics.shares import wilson_interval


@pytest.fixture
def short(monkeypatch):
    """For what does not depend on how well the classifier has learnt."""
    monkeypatch.setattr("benchmark.metrics.classifier_test.STEPS", 40)


def answers(right, wrong):
    return torch.tensor([True] * right + [False] * wrong)


def shifted_normals(n, shift=1.4):
    """Correlated, off the origin and on different scales."""
    mixing = torch.tensor([[30.0, 4.0, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.01]])
    real, generated = torch.randn(n, 3), torch.randn(n, 3) + shift / math.sqrt(3)
    return real @ mixing + 50, generated @ mixing + 50


def test_accuracy_counts_right_answers_on_both_sets():
    found = ClassifierTest(real=answers(5, 2), generated=answers(1, 6))
    assert (found.correct, found.trials) == (6, 14)
    assert found.accuracy == 6 / 14


@pytest.mark.parametrize("right", [3, 11, 17, 20])
def test_p_value_lies_in_the_middle_of_the_binomial_tails(right):
    found = ClassifierTest(
        real=answers(min(right, 10), 10 - min(right, 10)),
        generated=answers(max(right - 10, 0), 20 - max(right, 10)),
    )
    inclusive = binomtest(right, 20, 0.5, alternative="greater").pvalue
    exclusive = binomtest(right + 1, 20, 0.5, alternative="greater").pvalue if right < 20 else 0
    assert found.p_value == pytest.approx((inclusive + exclusive) / 2, rel=1e-12)


def test_a_classifier_with_a_favourite_answer_makes_the_p_value_cautious():
    # Right answers on 15 real and 15 generated examples, for answers "generated" at chance q:
    # the exact distribution is that of a sum of two binomials, by enumeration.
    h, q = 15, 0.85
    chance = {
        (r, g): binom.pmf(r, h, 1 - q) * binom.pmf(g, h, q)
        for r in range(h + 1)
        for g in range(h + 1)
    }
    for level in (0.01, 0.05, 0.1):
        rejected = sum(
            weight
            for (r, g), weight in chance.items()
            if ClassifierTest(answers(r, h - r), answers(g, h - g)).p_value <= level
        )
        assert rejected < level


def test_accuracy_nears_that_of_the_best_classifier_of_two_normals():
    real, generated = shifted_normals(2_000)
    found = classifier_test(real=real, generated=generated, seed=0)
    best = 0.5 * (1 + math.erf(1.4 / 2 / math.sqrt(2)))  # Bayes: the normal CDF of half the shift
    error = math.sqrt(best * (1 - best) / found.trials)
    assert best - 0.02 - 3 * error < found.accuracy < best + 3 * error


def test_agrees_with_linear_discriminants_where_these_are_the_best():
    real, generated = shifted_normals(800, shift=2.0)
    found = classifier_test(real=real, generated=generated, seed=1)
    labels = torch.cat([torch.zeros(400), torch.ones(400)])
    linear = LinearDiscriminantAnalysis().fit(torch.cat([real[:400], generated[:400]]), labels)
    theirs = linear.score(torch.cat([real[400:], generated[400:]]), labels)
    assert found.accuracy == pytest.approx(theirs, abs=0.05)
    assert found.real.double().mean().item() == pytest.approx(theirs, abs=0.08)
    assert found.generated.double().mean().item() == pytest.approx(theirs, abs=0.08)


def test_a_difference_that_no_line_shows_is_found():
    ring = torch.randn(600, 2)
    ring = 3 * ring / ring.norm(dim=1, keepdim=True)
    found = classifier_test(real=torch.randn(600, 2), generated=ring, seed=0)
    assert found.accuracy > 0.9
    assert found.p_value < 1e-20


def test_units_and_a_coordinate_that_does_not_vary_say_nothing():
    real, generated = torch.randn(400, 2), torch.randn(400, 2) + torch.tensor([2.0, 0.0])
    units = torch.tensor([1e-4, 1e5, 0.0])

    def remade(points):
        return torch.cat([points, torch.ones(400, 1)], dim=1) * units + 1e-3

    plain = classifier_test(real=real, generated=generated, seed=0)
    found = classifier_test(real=remade(real), generated=remade(generated), seed=0)
    assert plain.accuracy > 0.78
    assert found.accuracy == pytest.approx(plain.accuracy, abs=0.03)


def test_the_classifier_is_asked_about_examples_it_has_not_seen():
    # In 200 dimensions 100 examples are learnt by heart; what was learnt says nothing here.
    found = [
        classifier_test(real=torch.randn(100, 200), generated=torch.randn(100, 200), seed=seed)
        for seed in range(2)
    ]
    assert sum(f.correct for f in found) / sum(f.trials for f in found) < 0.65


@pytest.mark.slow
def test_p_values_of_equal_distributions_are_uniform():
    found = [
        classifier_test(real=torch.randn(200, 2), generated=torch.randn(200, 2), seed=seed).p_value
        for seed in range(200)
    ]
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.usefixtures("short")
def test_two_models_under_one_seed_hold_out_the_same_real_examples():
    # Far clusters are told without fail, so that a lone stray shows where it was held out.
    real = torch.randn(40, 1).abs()
    real[7] = 100.0
    tests = [
        classifier_test(real=real, generated=90 + spread * torch.rand(40, 1), seed=3)
        for spread in (1, 3)
    ]
    assert torch.equal(tests[0].real, tests[1].real)
    seen = {
        tuple(classifier_test(real=real, generated=90 + torch.rand(40, 1), seed=s).real.tolist())
        for s in range(4)
    }
    assert len(seen) > 1


@pytest.mark.usefixtures("short")
def test_the_same_seed_gives_the_same_answers_and_leaves_the_global_state_alone():
    real, generated = shifted_normals(60)
    torch.manual_seed(5)
    first = classifier_test(real=real, generated=generated, seed=2)
    after = torch.rand(1)
    torch.manual_seed(6)
    again = classifier_test(real=real, generated=generated, seed=2)
    torch.manual_seed(5)
    assert torch.equal(first.real, again.real)
    assert torch.equal(first.generated, again.generated)
    assert torch.equal(torch.rand(1), after)


def test_measured_without_gradients_it_learns_all_the_same():
    real, generated = shifted_normals(100, shift=8.0)
    with torch.no_grad():
        assert classifier_test(real=real, generated=generated, seed=0).accuracy > 0.95


@pytest.mark.usefixtures("short")
def test_measures_share_one_classifier_and_carry_their_protocol():
    real, generated = shifted_normals(120)
    evidence = points_evidence(real, generated, seed=4)
    found, tail = accuracy(evidence), p_value(evidence)
    known = classifier_test(real=real, generated=generated, seed=4)
    assert found.value == known.accuracy
    assert tail.value == known.p_value
    assert found.n == tail.n == 120
    assert (found.low, found.high) == wilson_interval(found.value, 120)
    assert found.standard_error == pytest.approx(math.sqrt(found.value * (1 - found.value) / 120))
    halves = found.details["half_samples"]
    assert len(halves["values"]) == 30
    spread = torch.tensor(halves["values"]).std().item()
    assert spread == pytest.approx(found.standard_error, rel=0.4)
    shares = [found.details["accuracy_on_real"], found.details["accuracy_on_generated"]]
    assert sum(shares) / 2 == pytest.approx(found.value)


@pytest.mark.usefixtures("short")
def test_the_larger_set_is_cut_to_the_size_of_the_smaller():
    real, generated = shifted_normals(60)
    more = torch.cat([real, torch.full((30, 3), 1e3)])
    assert accuracy(points_evidence(more, generated)).n == 60
    assert (
        accuracy(points_evidence(more, generated)).value
        == accuracy(points_evidence(real, generated)).value
    )


def test_certain_answers_have_an_interval_of_positive_width():
    found = accuracy(points_evidence(torch.randn(40, 2), torch.randn(40, 2) + 99))
    assert found.value == 1.0
    assert found.low < 0.95
    assert found.high == 1.0


def test_images_compare_by_features_and_constant_images_are_told():
    constant = torch.zeros_like(random_images(60))
    assert accuracy(images_evidence(random_images(60), constant)).value > 0.95
    assert 0 <= accuracy(images_evidence(constant, constant.clone())).value <= 1
    with pytest.raises(NotApplicable, match="no weights"):
        accuracy(replace(images_evidence(constant, constant), network="no weights"))


def test_rejects_few_examples_and_sets_of_two_sizes():
    with pytest.raises(ValueError, match=r"generated must be \[n >= 8, d\]"):
        classifier_test(real=torch.randn(9, 2), generated=torch.randn(7, 2), seed=0)
    with pytest.raises(ValueError, match="got 12 real and 10 generated: give as many"):
        classifier_test(real=torch.randn(12, 2), generated=torch.randn(10, 2), seed=0)
