import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from benchmark import features
from benchmark.data import DATASETS, load_dataset
from benchmark.errors import UserError
from benchmark.features import NETWORKS, inception, load_network, network_for, network_name_for
from benchmark.features import train as training
from benchmark.features.classifier import Architecture, Classifier, packed_weights, read_weights
from benchmark.features.train import RECIPES, Recipe, accuracy, moved, train_classifier
from benchmark.precision import full_precision
from benchmark.randomness import fork_rng
from benchmark.spec import DataSpec

PHOTOGRAPHS = DataSpec((3, 32, 32), levels=256)
TINY = Architecture((1, 8, 8), channels=(4,), features=6)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture
def no_inception(monkeypatch):
    monkeypatch.setattr(inception, "find_weights", lambda given, download: "no weights here")


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_are_small_whole_and_in_half_precision(name):
    shipped = NETWORKS[name]
    state = read_weights(shipped.path, shipped.sha256)
    assert shipped.path.stat().st_size < 1_000_000
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_classify_as_well_as_the_table_says(name):
    shipped = NETWORKS[name]
    root = os.environ.get("BENCHMARK_DATA")
    if shipped.dataset != "digits" and not root:
        pytest.skip("BENCHMARK_DATA does not say where torchvision's sets are")
    data = load_dataset(shipped.dataset, Path(root) if root else None)
    share = accuracy(load_network(name), data.test, data.test_labels, data.spec.levels)
    assert share == pytest.approx(shipped.test_accuracy, abs=2e-4)
    assert (data.network, data.spec.shape) == (name, shipped.architecture.shape)


def test_every_shipped_network_has_a_recipe_and_a_data_set():
    assert list(RECIPES) == list(NETWORKS)
    assert {n.dataset for n in NETWORKS.values()} <= {source.name for source in DATASETS}


def test_features_do_not_depend_on_the_batches_that_images_come_in(digits):
    network = load_network("digits-cnn")
    images = digits.train[:620]  # more than one batch
    whole, parts = network(images, 17), [network(part, 17) for part in images.split(93)]
    assert whole.features.shape == (620, 64)
    assert whole.logits.shape == (620, 10)
    assert {whole.features.dtype, whole.logits.dtype} == {torch.float32}
    torch.testing.assert_close(whole.features, torch.cat([part.features for part in parts]))
    torch.testing.assert_close(whole.logits, torch.cat([part.logits for part in parts]))


def test_features_repeat_exactly_whatever_the_caller_has_set(digits):
    network = load_network("digits-cnn")
    first = network(digits.test, 17)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        second = network(digits.test, 17)
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.logits, second.logits)


def test_features_take_part_in_ordinary_arithmetic_and_leave_the_images_alone(digits):
    images = digits.test[:5].clone()
    result = load_network("digits-cnn")(images, 17)
    assert torch.equal(images, digits.test[:5])
    (result.features.requires_grad_().sum() * 2).backward()  # tensors of inference mode refuse


def test_logits_are_linear_in_the_features(digits):
    network = load_network("digits-cnn")
    result = network(digits.test, 17)
    torch.testing.assert_close(network.classifier.head(result.features), result.logits)


def test_levels_set_the_brightness_that_the_network_sees(digits):
    network = load_network("digits-cnn")
    finer = network(digits.test[:9] * 3, 49)
    torch.testing.assert_close(finer.features, network(digits.test[:9], 17).features)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"takes images of \[1, 8, 8\], got \[1, 8, 9\]"):
        load_network("digits-cnn")(torch.zeros(2, 1, 8, 9, dtype=torch.uint8), 17)


def test_loading_a_network_draws_no_random_numbers():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_network("digits-cnn")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.gpu
def test_an_accelerator_gives_the_features_of_the_processor(digits):
    if not torch.cuda.is_available():
        pytest.skip("no accelerator")
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        near = load_network("digits-cnn", device="cuda")(digits.test, 17)
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"
    torch.testing.assert_close(
        near.features, load_network("digits-cnn")(digits.test, 17).features, atol=1e-4, rtol=1e-4
    )


# Damage


def test_an_unknown_network_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'digits-cnn'"):
        load_network("digit-cnn")


def one_line(error: UserError) -> bool:
    return "\n" not in str(error) and "benchmark.features.train" in str(error)


def test_a_file_with_a_flipped_bit_is_refused_in_one_line(tmp_path):
    shipped = NETWORKS["digits-cnn"]
    content = bytearray(shipped.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "digits-cnn.pt"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="damaged") as caught:
        read_weights(damaged, shipped.sha256)
    assert one_line(caught.value)


def test_a_missing_file_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "WEIGHTS", tmp_path)
    with pytest.raises(UserError, match="cannot read the weights") as caught:
        load_network("digits-cnn")
    assert one_line(caught.value)


# Which network serves


def test_a_shipped_classifier_serves_its_data_set(digits):
    assert network_name_for(digits.network, digits.spec) == "digits-cnn"
    assert network_for(digits.network, digits.spec).name == "digits-cnn"


def test_points_have_no_network_and_the_reason_says_so():
    assert network_name_for(None, DataSpec((2,))) is None
    assert "real numbers" in network_for(None, DataSpec((2,)))


def test_grey_images_without_a_classifier_have_none_and_the_reason_says_why():
    grey = DataSpec((1, 32, 32), levels=256)
    assert network_name_for(None, grey) is None
    assert "not RGB with 256 levels" in network_for(None, grey)


@pytest.mark.usefixtures("no_inception")
def test_photographs_without_weights_have_none_and_the_reason_says_what_to_do():
    assert network_name_for(None, PHOTOGRAPHS) is None
    reason = network_for(None, PHOTOGRAPHS)
    assert "no weights here" in reason
    assert "--inception-weights FILE" in reason


@pytest.mark.usefixtures("no_inception")
def test_photographs_without_weights_fall_back_on_their_classifier(monkeypatch):
    assert network_name_for("digits-cnn", PHOTOGRAPHS) == "digits-cnn"
    assert network_for("digits-cnn", PHOTOGRAPHS).name == "digits-cnn"


# Precision


@pytest.mark.parametrize("ask", ["default", "older way", "newer way"])
def test_full_precision_holds_inside_and_leaves_the_callers_choice_behind(ask):
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    try:
        if ask == "older way":
            matmul.allow_tf32 = True
        if ask == "newer way":
            matmul.fp32_precision = "tf32"
        before = matmul.fp32_precision, convolution.fp32_precision
        with suppress(KeyError), full_precision():
            inside = matmul.fp32_precision, convolution.fp32_precision
            raise KeyError
        assert inside == ("ieee", "ieee")
        assert (matmul.fp32_precision, convolution.fp32_precision) == before
    finally:
        matmul.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")


# Training


def test_training_twice_from_one_seed_writes_the_same_bytes(digits):
    def trained() -> bytes:
        with fork_rng(7):
            recipe = Recipe(epochs=1, batch_size=32, shift=1.0, turn=0.2, flip=True)
            images, labels = digits.train[:128], digits.train_labels[:128]
            return packed_weights(train_classifier(images, labels, 17, TINY, recipe))

    assert trained() == trained()


def test_a_few_epochs_learn_most_digits_and_the_file_says_so(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(training.RECIPES, "digits-cnn", Recipe(epochs=4, batch_size=32))
    report = training.run(NETWORKS["digits-cnn"], digits, tmp_path)
    path = tmp_path / "digits-cnn.pt"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in report
    assert float(report.split("test_accuracy=")[1].rstrip(",")) > 0.9


def test_the_trainer_refuses_an_unknown_network_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "digit-cnn"])
    with pytest.raises(SystemExit, match=r"error: .*did you mean 'digits-cnn'"):
        training.main()


def test_images_that_nothing_may_move_stay_as_they_are():
    x = torch.rand(5, 2, 7, 6) * 2 - 1
    torch.testing.assert_close(moved(x, Recipe(epochs=1)), x, atol=1e-5, rtol=0)


def test_a_flip_mirrors_left_and_right_and_nothing_else():
    x = torch.rand(40, 1, 7, 6) * 2 - 1
    flipped = moved(x, Recipe(epochs=1, flip=True))
    same = (flipped - x).abs().amax(dim=(1, 2, 3)) < 1e-4
    mirrored = (flipped - x.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert (same ^ mirrored).all()
    assert 5 < mirrored.sum() < 35


def test_a_shift_moves_by_at_most_its_pixels_and_brings_in_black():
    x = torch.full((200, 1, 9, 9), -1.0)
    x[:, :, 4, 4] = 1
    shifted = (moved(x, Recipe(epochs=1, shift=2.0)) + 1).squeeze(1) / 2  # [n, 9, 9]
    torch.testing.assert_close(shifted.sum(dim=(1, 2)), torch.ones(200))
    place = torch.arange(9.0) - 4
    rows = (shifted.sum(dim=2) * place).sum(dim=1)
    assert 1.7 < rows.abs().max() <= 2.001
    assert rows.mean().abs() < 0.4


def test_a_classifier_holds_what_its_architecture_says():
    x = torch.zeros(3, 3, 32, 32)
    classifier = Classifier(Architecture((3, 32, 32), channels=(4, 6, 8), features=11, classes=5))
    hidden, logits = classifier(x)
    assert (hidden.shape, logits.shape) == ((3, 11), (3, 5))
