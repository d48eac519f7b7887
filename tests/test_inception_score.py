import math

import pytest
import torch
from sample_evidence import images_evidence, random_images

from benchmark.metrics.inception_score import inception_score, measure, splits_for


def direct_score(logits):
    """Entropy of the mean answer minus mean entropy of the answers: another path to the same."""
    p = logits.double().softmax(dim=1)
    mean_entropy = torch.special.entr(p).sum(dim=1).mean()
    return (torch.special.entr(p.mean(dim=0)).sum() - mean_entropy).exp().item()


def test_is_the_exponential_of_the_mutual_information():
    logits = torch.randn(200, 7) * 2
    assert inception_score(logits=logits, splits=1) == pytest.approx(direct_score(logits), 1e-9)


def test_splits_are_contiguous_and_averaged():
    logits = torch.randn(90, 7) * 2 + torch.arange(90)[:, None] / 30
    expected = sum(direct_score(part) for part in logits.split(30)) / 3
    assert inception_score(logits=logits, splits=3) == pytest.approx(expected, rel=1e-9)


def test_is_the_number_of_classes_for_sure_and_balanced_answers():
    logits = torch.eye(5).repeat(20, 1) * 100
    assert inception_score(logits=logits, splits=1) == pytest.approx(5, rel=1e-9)


def test_is_one_when_all_answers_agree():
    one_answer = torch.randn(1, 5).repeat(30, 1)
    assert inception_score(logits=one_answer, splits=1) == pytest.approx(1, rel=1e-9)


def test_extreme_logits_stay_finite():
    logits = torch.zeros(30, 5)
    logits[:, 2] = 3000.0
    assert inception_score(logits=logits, splits=1) == pytest.approx(1, rel=1e-9)


def test_agrees_with_torchmetrics_on_ten_splits():
    from torchmetrics.image.inception import InceptionScore

    class Echo(torch.nn.Module):
        def forward(self, x):
            return x

    logits = torch.randn(400, 7).double() * 2
    with pytest.warns(UserWarning, match="large memory"):
        theirs = InceptionScore(feature=Echo(), splits=10)
    theirs.update(logits)
    torch.manual_seed(5)
    expected, _ = theirs.compute()
    torch.manual_seed(5)  # theirs shuffles first
    score = inception_score(logits=logits[torch.randperm(400)], splits=10)
    assert score == pytest.approx(expected.item(), rel=1e-9)


def test_ten_splits_from_5000_samples_on_and_one_below():
    assert [splits_for(n) for n in (400, 4999, 5000, 50_000)] == [1, 1, 10, 10]


def test_rejects_more_splits_than_samples():
    with pytest.raises(ValueError, match=r"splits must lie in 1\.\.4, got 5"):
        inception_score(logits=torch.randn(4, 3), splits=5)


def test_measured_error_is_near_the_spread_over_fresh_samples():
    found = [
        measure(images_evidence(random_images(4), random_images(300), seed=seed))
        for seed in range(40)
    ]
    spread = torch.tensor([m.value for m in found]).std().item()
    mean_error = sum(m.standard_error for m in found) / len(found)
    assert mean_error == pytest.approx(spread, rel=0.35)
    assert found[0].n == 300


def test_interval_stays_between_one_and_the_number_of_classes():
    collapsed = random_images(1).repeat(50, 1, 1, 1)
    found = measure(images_evidence(random_images(50), collapsed))
    assert found.value == pytest.approx(1)
    assert found.low >= 1
    assert math.isfinite(found.high)
