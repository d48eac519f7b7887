from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sample_evidence import points_evidence

from benchmark.data import load_dataset
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.class_likelihood import worst_class_gap
from benchmark.training_log import TrainingLog
from zoo.gmm import gmm

SHARES = np.array([0.5, 0.3, 0.2])
MEANS = np.array([-3.0, -5.0, -11.0])


class Remembers:
    """A model whose log-likelihood of an example is the example's own first number."""

    def __init__(self, bounded=False):
        setattr(self, "log_prob_bound" if bounded else "log_prob", lambda x: x[:, 0].double())


def draw(n, seed=0):
    """Log-likelihoods about MEANS [n, 2] and classes [n]."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(3, size=n, p=SHARES)
    values = MEANS[classes] + (1 + classes) * rng.standard_normal(n)
    points = torch.tensor(np.stack([values, rng.standard_normal(n)], axis=1)).float()
    return points, torch.from_numpy(classes)


def evidence_of(points, classes, learnt=None, bounded=False, seed=0):
    evidence = points_evidence(points, points[:4], seed=seed)
    model = Remembers(bounded)
    return replace(evidence, model=model, test_labels=classes, train_labels=learnt)


def test_means_errors_and_counts_are_those_of_pandas():
    points, classes = draw(500)
    found = worst_class_gap(evidence_of(points, classes))
    grouped = pd.Series(points[:, 0].double()).groupby(classes.numpy())
    assert found.details["log_likelihood"] == pytest.approx(grouped.mean().tolist())
    assert found.details["standard_errors"] == pytest.approx(grouped.sem().tolist())
    assert found.details["examples"] == grouped.count().tolist()
    assert found.details["overall"] == pytest.approx(points[:, 0].double().mean().item())
    expected = found.details["overall"] - grouped.mean().min()
    assert found.value == pytest.approx(expected)
    assert (found.n, found.meaning) == (500, "exact")
    assert found.details["meaning"] == "exact"


def test_error_is_near_the_spread_over_fresh_examples():
    found = [worst_class_gap(evidence_of(*draw(300, seed), seed=seed)) for seed in range(60)]
    values = [each.value for each in found]
    truth = (SHARES * MEANS).sum() - MEANS.min()
    assert np.mean(values) == pytest.approx(truth, abs=0.15)
    assert np.mean([each.standard_error for each in found]) == pytest.approx(
        np.std(values), rel=0.35
    )


def test_a_bound_gives_an_estimate_of_the_gap_and_bounds_the_means_from_below():
    found = worst_class_gap(evidence_of(*draw(100), bounded=True))
    assert (found.meaning, found.details["meaning"]) == ("estimate", "lower bound")


def test_classes_that_were_not_learnt_or_not_tested_are_told():
    points, classes = draw(60)
    classes[classes == 1] = 4
    found = worst_class_gap(evidence_of(points, classes, learnt=torch.tensor([0, 1, 1, 2])))
    assert found.details["train_examples"] == [1, 2, 1, 0, 0]
    assert found.details["log_likelihood"][1] is None
    assert found.details["standard_errors"][3] is None
    assert found.details["remark"] == "2 classes have fewer than 5 of 60 test examples"


def test_labels_of_the_whole_split_are_cut_to_the_examples_measured():
    points, classes = draw(200)
    few = worst_class_gap(evidence_of(points[:50], classes[:50]))
    assert worst_class_gap(evidence_of(points[:50], classes)).value == few.value


def test_without_classes_there_is_no_answer():
    points, _ = draw(20)
    with pytest.raises(NotApplicable, match="no classes"):
        worst_class_gap(evidence_of(points, None))


def gap_of_mixture(name):
    data = load_dataset(name)
    model = gmm(data.spec)
    model.fit(data.train, data.validation, 1.0, TrainingLog(None, "32-true"))
    evidence = points_evidence(data.test.flatten(1), data.test.flatten(1))
    shaped = replace(evidence, spec=data.spec, test=data.test, model=model)
    return worst_class_gap(
        replace(shaped, test_labels=data.test_labels, train_labels=data.train_labels)
    )


def test_sevens_that_were_never_seen_fall_far_below_the_other_digits():
    missing, whole = gap_of_mixture("digits_without_7"), gap_of_mixture("digits")
    means, errors = (missing.details[name] for name in ("log_likelihood", "standard_errors"))
    others = [each for digit, each in enumerate(means) if digit != 7]
    assert missing.details["train_examples"][7] == 0
    assert means[7] + 5 * errors[7] < min(others)
    assert missing.value > 5 * whole.value
