import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from benchmark.damage import BLUR, BRIGHTNESS, DISTINCT, DROPPED, GRADES, KINDS, MEMORISED, Damaged
from benchmark.data import load_dataset
from benchmark.errors import UserError
from benchmark.models import build
from benchmark.randomness import fork_rng
from benchmark.sampling import check_samples
from benchmark.spec import DataSpec
from benchmark.suite import load_suite

GREY = DataSpec((1, 8, 8), levels=256)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def drawn(data, kind, grade=1, n=200, seed=0):
    model = Damaged(data.spec, kind, grade)
    model.fit(data.train, data.validation, 1.0, None)
    with fork_rng(seed):
        return model.sample(n)


def rows(images):
    return [tuple(row) for row in images.flatten(1).tolist()]


def true_labels(images):
    pixels, labels = load_digits(return_X_y=True)
    known = {tuple(row): label for row, label in zip(pixels.tolist(), labels, strict=True)}
    return [known[row] for row in rows(images)]


def test_intact_images_are_held_out_ones_none_twice(digits):
    images = rows(drawn(digits, "intact"))
    assert len(set(images)) == 200
    assert set(images) <= set(rows(digits.validation))


@pytest.mark.parametrize("grade", range(1, GRADES + 1))
def test_blurred_images_are_those_of_scipy(digits, grade):
    sharp, blurred = drawn(digits, "intact"), drawn(digits, "blur", grade)
    sigma = (0, 0, BLUR[grade - 1], BLUR[grade - 1])
    expected = gaussian_filter(sharp.double().numpy(), sigma, mode="nearest", truncate=3)
    assert torch.equal(blurred, torch.from_numpy(expected).round().to(torch.uint8))


def test_noise_has_its_standard_deviation_and_ends_at_the_range():
    flat = torch.full((300, 1, 8, 8), 128, dtype=torch.uint8)
    model = Damaged(GREY, "noise", 2)
    model.fit(flat, flat, 1.0, None)
    noise = model.sample(300).double() - 128
    assert noise.mean().item() == pytest.approx(0, abs=1)
    assert noise.std().item() == pytest.approx(25.5, rel=0.02)
    model.fit(flat, torch.zeros_like(flat), 1.0, None)
    assert (model.sample(300) == 0).double().mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("grade", range(1, GRADES + 1))
def test_brighter_images_are_raised_and_end_at_white(digits, grade):
    before, after = drawn(digits, "intact").long(), drawn(digits, "brightness", grade).long()
    step = round(BRIGHTNESS[grade - 1] * 16)
    assert torch.equal(after, (before + step).clamp(max=16))


@pytest.mark.parametrize("grade", range(1, GRADES + 1))
def test_dropped_classes_are_missing_and_the_others_there(digits, grade):
    labels = true_labels(drawn(digits, "dropped_classes", grade))
    often = [label for label in set(labels) if labels.count(label) > 3]  # the classifier errs
    assert len(often) == 10 - DROPPED[grade - 1]


def test_another_seed_drops_other_classes(digits):
    dropped = [
        frozenset(true_labels(drawn(digits, "dropped_classes", 4, seed=seed))) for seed in range(4)
    ]
    assert len(set(dropped)) > 1


@pytest.mark.parametrize("grade", range(1, GRADES + 1))
def test_memorised_images_are_training_examples_none_twice(digits, grade):
    images = rows(drawn(digits, "memorised", grade))
    train = set(rows(digits.train))
    assert sum(image in train for image in images) == MEMORISED[grade - 1] * 200
    assert len(set(images)) == 200


@pytest.mark.parametrize("grade", range(1, GRADES + 1))
def test_a_collapsed_class_has_a_few_images_and_its_frequency(digits, grade):
    images = drawn(digits, "collapse_within_class", grade, n=400)
    labels = true_labels(images)
    distinct = {label: set() for label in range(10)}
    for image, label in zip(rows(images), labels, strict=True):
        distinct[label].add(image)
    assert max(map(len, distinct.values())) <= DISTINCT[grade - 1] + 1  # the classifier errs
    assert len(set(rows(images))) <= 10 * DISTINCT[grade - 1]
    expected = true_labels(digits.validation)
    for label in range(10):
        assert labels.count(label) == pytest.approx(expected.count(label), abs=6)


@pytest.mark.parametrize("kind", ["blur", "noise", "brightness"])
def test_a_higher_grade_changes_more(digits, kind):
    intact = drawn(digits, "intact").double()
    changes = [
        (drawn(digits, kind, grade).double() - intact).square().mean() for grade in (1, 2, 3, 4)
    ]
    assert 0 < changes[0] < changes[1] < changes[2] < changes[3]


def test_one_seed_gives_one_set_of_images(digits):
    for kind in KINDS:
        assert torch.equal(drawn(digits, kind, 3, seed=5), drawn(digits, kind, 3, seed=5))
        assert not torch.equal(drawn(digits, kind, 3, seed=5), drawn(digits, kind, 3, seed=6))


def test_more_images_than_the_damage_leaves_are_an_error(digits):
    with pytest.raises(ValueError, match="asked for 350 images, the damage leaves"):
        drawn(digits, "dropped_classes", 4, n=350)


def test_a_misspelt_kind_or_an_unknown_grade_is_named(digits):
    with pytest.raises(UserError, match="no damage named 'nois'; did you mean 'noise'"):
        Damaged(digits.spec, "nois")
    with pytest.raises(UserError, match="the grades 1 to 4, got 5"):
        Damaged(digits.spec, "blur", 5)
    with pytest.raises(UserError, match="these data are points"):
        Damaged(DataSpec((2,)))


def test_the_suite_has_every_kind_in_every_grade_and_draws_its_samples(digits):
    suite = load_suite("damage")
    graded = [f"{kind}_{grade}" for kind in KINDS for grade in (1, 2, 3, 4) if kind != "intact"]
    assert [entry.name for entry in suite.models] == ["intact", *graded]
    for entry in suite.models:
        model = build(entry.factory, digits.spec, entry.settings_on("digits"))
        assert entry.name in (f"{model.kind}_{model.grade}", "intact")
        model.fit(digits.train, digits.validation, 1.0, None)
        check_samples(model.sample(suite.datasets[0].samples), digits.spec, 200)
