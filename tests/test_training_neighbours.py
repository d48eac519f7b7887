from dataclasses import replace

import pytest
import torch
from sample_evidence import images_evidence, points_evidence, random_images

from benchmark.metrics.base import NotApplicable
from benchmark.metrics.training_neighbours import in_features, in_pixels, nearest


@pytest.mark.parametrize("dims", [2, 40])
def test_are_those_of_all_pairwise_distances(dims):
    train, queries = torch.randn(300, dims) + 5, torch.randn(80, dims) + 5
    found = nearest(queries, train, count=3)
    expected = torch.cdist(queries.double(), train.double()).topk(3, largest=False)
    assert torch.equal(found.rows, expected.indices)
    torch.testing.assert_close(found.distances, expected.values, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("dims", [2, 40])
def test_a_copy_is_at_exactly_zero_even_far_from_the_origin(dims):
    train = torch.randn(200, dims) + 1_000
    found = nearest(train[50:70], train, count=2)
    assert torch.equal(found.rows[:, 0], torch.arange(50, 70))
    assert (found.distances[:, 0] == 0).all()
    assert (found.distances[:, 1] > 0).all()


def test_near_duplicates_are_told_apart():
    once = torch.randn(50, 40).double() + 5
    train = torch.cat([once, once + 1e-9])
    assert torch.equal(nearest(train, train, count=2).rows[:, 0], torch.arange(100))


def test_parts_of_the_queries_are_told_of_and_joined(monkeypatch):
    monkeypatch.setattr("benchmark.metrics.training_neighbours.QUERIES_AT_ONCE", 4)
    train, queries = torch.randn(20, 2), torch.randn(10, 2)
    told = []
    parts = nearest(queries, train, count=2, progress=lambda *step: told.append(step))
    monkeypatch.undo()
    assert torch.equal(parts.rows, nearest(queries, train, count=2).rows)
    assert told == [("nearest training examples", start, 10) for start in (0, 4, 8)]


def test_fewer_training_examples_than_neighbours_are_an_error():
    with pytest.raises(ValueError, match=r"train must be \[n >= 3, d\], got \[2, 5\]"):
        nearest(torch.randn(4, 5), torch.randn(2, 5), count=3)


def test_images_are_compared_by_features_and_by_grey_levels():
    train, test, generated = random_images(50), random_images(30), random_images(20)
    evidence = replace(images_evidence(test, generated), train=train)

    def features(images):
        return evidence.network(images, 5).features.double()

    def grey(images):
        return images.flatten(1).double()

    for found, space in [(in_features(evidence), features), (in_pixels(evidence), grey)]:
        for near, images in [(found.held_out, test), (found.generated, generated)]:
            expected = torch.cdist(space(images), space(train)).amin(dim=1)
            torch.testing.assert_close(near.distances[:, 0], expected)


def test_held_out_are_the_test_examples_or_without_any_the_reference():
    reference, generated = torch.randn(30, 2), torch.randn(20, 2)
    evidence = replace(points_evidence(reference, generated), train=torch.randn(50, 2))
    other = replace(evidence, test=torch.randn(10, 2), shared={})
    none = replace(evidence, test=reference[:0], shared={})
    assert len(in_features(other).held_out.rows) == 10
    assert torch.equal(in_features(none).held_out.rows, in_features(evidence).held_out.rows)


def test_neighbours_are_sought_once_a_cell():
    evidence = replace(
        points_evidence(torch.randn(30, 2), torch.randn(20, 2)), train=torch.randn(50, 2)
    )
    assert in_features(evidence) is in_pixels(evidence)


def test_without_training_data_there_is_a_reason():
    with pytest.raises(NotApplicable, match="none are given"):
        in_pixels(points_evidence(torch.randn(30, 2), torch.randn(20, 2)))


def test_images_without_a_network_have_pixels_but_no_features():
    evidence = replace(
        images_evidence(random_images(30), random_images(20), network="no weights"),
        train=random_images(50),
    )
    assert len(in_pixels(evidence).generated.rows) == 20
    with pytest.raises(NotApplicable, match="no weights"):
        in_features(evidence)
