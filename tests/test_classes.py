import pytest
import torch

from zoo.classes import Classes


def test_learns_how_frequent_each_class_is_with_one_more_of_each():
    classes = Classes(3)
    classes.learn(torch.tensor([2, 2, 0, 2]))
    torch.testing.assert_close(classes.log_prior.exp(), torch.tensor([2.0, 1.0, 4.0]) / 7)


def test_draws_classes_as_frequently():
    classes = Classes(3)
    classes.learn(torch.tensor([2, 2, 0, 2]))
    shares = torch.bincount(classes.draw(20_000)) / 20_000
    torch.testing.assert_close(shares, torch.tensor([2.0, 1.0, 4.0]) / 7, rtol=0, atol=0.015)
    assert classes.draw(0).shape == (0,)


def test_a_model_without_classes_has_nothing_to_store():
    assert not Classes(None).state_dict()
    Classes(None).check(None, 5)
    Classes(None).learn(None)


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda: Classes(0), "classes must be positive, got 0"),
        (lambda: Classes(3).learn(None), "a model with 3 classes learns from labels"),
        (lambda: Classes(None).learn(torch.tensor([0])), "takes no labels"),
        (lambda: Classes(3).check(torch.tensor([0, 1]), 3), r"must be \[3\].*: \[2\]"),
        (
            lambda: Classes(3).check(torch.tensor([0, 3]), 2),
            "between 0 and 2, got some from 0 to 3",
        ),
    ],
)
def test_labels_that_do_not_suit_are_refused(ask, complaint):
    with pytest.raises(ValueError, match=complaint):
        ask()
