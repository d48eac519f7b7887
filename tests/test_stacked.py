import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_evidence import NO_COST

from benchmark.data import DATASETS, load_dataset
from benchmark.data import stacked as module
from benchmark.data.stacked import StackedDigits, stacked
from benchmark.errors import UserError
from benchmark.metrics import METRICS
from benchmark.metrics.base import Evidence, Features
from benchmark.planning import Options, plan_cells
from benchmark.run import run_cell
from benchmark.spec import DataSpec
from benchmark.suite import load_suite

SPEC = DataSpec((3, 28, 28), levels=256)
BRIGHTNESS = 20  # of a class above the one before it
SMALL = {"TRAIN": 120, "VALIDATION": 70, "TEST": 80}


def pictures(labels):
    """[n, 1, 28, 28] images that show their class by their brightness, and their place within."""
    images = (BRIGHTNESS * labels).view(-1, 1, 1, 1).repeat(1, 1, 28, 28).to(torch.uint8)
    places = torch.arange(len(labels))
    images[:, 0, 0, 0], images[:, 0, 0, 1] = places // 256, places % 256
    return images


def brightness_reader(name, device):
    """A network whose most probable class is the brightness of the last pixel."""

    def network(images, levels):
        classes = (images[:, 0, -1, -1].long() // BRIGHTNESS).clamp(max=9)
        return Features(classes[:, None].float(), torch.eye(10)[classes])

    assert name == "mnist-cnn"
    return network


def triples(modes):
    """[n, 3, 28, 28] images of which the reader above sees these modes."""
    modes = torch.as_tensor(modes)
    digits = torch.stack([modes // 100, modes // 10 % 10, modes % 10], dim=1)
    return pictures(digits.flatten()).view(-1, 3, 28, 28)


def unbalanced_labels(n):
    """As in MNIST, some classes are more common than others."""
    return torch.multinomial(torch.linspace(1, 2, 10), n, replacement=True)


def test_a_mode_names_the_digits_of_the_channels_in_their_order():
    labels = unbalanced_labels(500)
    images, modes = stacked(pictures(labels), labels, 400, np.random.default_rng(0))
    assert images.shape == (400, 3, 28, 28)
    assert images.dtype == torch.uint8
    shown = images[:, :, -1, -1].long() // BRIGHTNESS
    assert torch.equal(modes, shown @ torch.tensor([100, 10, 1]))


def test_every_mode_is_equally_probable_though_the_digits_are_not():
    labels = unbalanced_labels(2_000)
    _, modes = stacked(torch.zeros(2_000, 1, 1, 1), labels, 100_000, np.random.default_rng(0))
    counts = torch.bincount(modes, minlength=1_000).double()
    chi_square = ((counts - 100) ** 2 / 100).sum().item()
    assert chi_square == pytest.approx(999, abs=5 * math.sqrt(2 * 999))


def test_every_image_of_a_class_is_used_equally_often():
    labels = unbalanced_labels(300)
    images, _ = stacked(pictures(labels), labels, 60_000, np.random.default_rng(0))
    places = (256 * images[:, :, 0, 0].long() + images[:, :, 0, 1]).flatten()
    used = torch.bincount(places, minlength=300).double()
    expected = 18_000 / torch.bincount(labels)[labels]
    chi_square = ((used - expected) ** 2 / expected).sum().item()
    assert chi_square == pytest.approx(290, abs=5 * math.sqrt(2 * 290))  # a total for each class


def test_the_reader_of_modes_takes_the_channels_apart_and_counts_every_image(monkeypatch):
    monkeypatch.setattr(module, "load_network", brightness_reader)
    expected = torch.tensor([7, 123, 999, 0, 420, 42])
    assigned = StackedDigits().assign(triples(expected))
    assert torch.equal(assigned.mode, expected)
    assert assigned.high_quality.tolist() == [True] * 6
    many = torch.randint(0, 1_000, (200,))  # several batches
    assert torch.equal(StackedDigits().assign(triples(many)).mode, many)


def test_weights_are_equal_and_a_perfect_sampler_loses_nothing():
    modes = StackedDigits()
    assert modes.weights.shape == (1_000,)
    assert modes.weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert modes.perfect == 1


def measured(name, modes):
    images = triples(modes)
    seen = Evidence(
        SPEC, None, images, images, images, "no network", StackedDigits(), NO_COST, seed=0
    )
    (metric,) = (metric for metric in METRICS if metric.name == name)
    return metric.measure(seen).value


def test_metrics_of_modes_count_stacked_digits(monkeypatch):
    monkeypatch.setattr(module, "load_network", brightness_reader)
    unequal = [5, 5, 5, 700]
    assert measured("modes", unequal) == 2
    assert measured("high_quality", unequal) == 1
    divergence = 0.75 * math.log(0.75 * 1_000) + 0.25 * math.log(0.25 * 1_000)
    assert measured("mode_kl", unequal) == pytest.approx(divergence)
    assert measured("modes", range(1_000)) == 1_000
    assert measured("mode_kl", range(1_000)) == pytest.approx(0, abs=1e-12)


def test_the_listing_says_how_good_the_reader_is():
    (source,) = (source for source in DATASETS if source.name == "stacked_mnist")
    assert "99.51% of digits" in source.description


# The suite


def write_mnist(root, monkeypatch):
    """Files like MNIST's, small, and a data set that stacks few of their images."""
    monkeypatch.setattr("benchmark.data.torchvision_sets.VALIDATION", {"mnist": 150})
    for name, value in SMALL.items():
        monkeypatch.setattr(module, name, value)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 350), ("t10k", 150)):
        labels = torch.arange(count) % 10
        head = struct.pack(">4i", 0x803, count, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(
            head + pictures(labels).numpy().tobytes()
        )
        head = struct.pack(">2i", 0x801, count)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(
            head + labels.to(torch.uint8).numpy().tobytes()
        )
    return root


def test_each_split_is_stacked_from_the_same_split_of_mnist(tmp_path, monkeypatch):
    root = write_mnist(tmp_path, monkeypatch)
    data, mnist = load_dataset("stacked_mnist", root), load_dataset("mnist", root)
    assert [len(data.train), len(data.validation), len(data.test)] == list(SMALL.values())
    for split in ("train", "validation", "test"):
        digits = {bytes(image) for image in getattr(mnist, split).flatten(1).numpy()}
        channels = getattr(data, split).flatten(0, 1).flatten(1).numpy()
        assert {bytes(channel) for channel in channels} <= digits
        shown = getattr(data, split)[:, :, -1, -1].long() // BRIGHTNESS
        assert torch.equal(getattr(data, f"{split}_labels"), shown @ torch.tensor([100, 10, 1]))


def test_the_baselines_of_the_suite_run_and_only_modes_and_cost_are_measured(
    tmp_path, monkeypatch
):
    write_mnist(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "load_network", brightness_reader)
    names = ["data", "memoriser", "marginals", "collapsed", "noise"]
    suite = load_suite("stacked").narrowed(names, None, [0])
    options = Options(
        samples=60, examples=10, device="cpu", data_root=tmp_path, out=tmp_path, runs=tmp_path
    )
    for plan in plan_cells(suite, options):
        cell = run_cell(plan)
        assert cell.failure is None
        answers = {result.question.metric: result for result in cell.results}
        assert {m.table for m in METRICS if m.name in answers} == {"modes", "cost"}
        assert not [r.reason for r in answers.values() if r.status == "failed"]
        assert (answers["modes"].value == 1) == (plan.identity.model == "collapsed")


def test_missing_mnist_is_reported_with_the_place_and_the_way_out(tmp_path, monkeypatch):
    def no_network(self):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    with pytest.raises(UserError, match=r"looked for .*MNIST/raw.*--data-root DIR"):
        load_dataset("stacked_mnist", tmp_path)


# Real images


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("BENCHMARK_DATA")
    if not root:
        pytest.skip("BENCHMARK_DATA does not say where torchvision's sets are")
    return load_dataset("stacked_mnist", Path(root))


def test_the_classifier_reads_held_out_triples_as_well_as_its_accuracy_says(real):
    assigned = real.modes.assign(real.test[:2_000])
    right = (assigned.mode == real.test_labels[:2_000]).double().mean().item()
    expected = module.CLASSIFIER.test_accuracy**3
    assert right == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 2_000))


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test"])
def test_real_images_have_all_modes_and_a_divergence_at_its_floor(real, split):
    images = getattr(real, split)
    seen = Evidence(real.spec, None, images, images, images, "", real.modes, NO_COST, seed=0)
    metric = {metric.name: metric.measure for metric in METRICS}
    assert metric["modes"](seen).value == 1_000
    floor, spread = 999 / (2 * 26_000), math.sqrt(2 * 999) / (2 * 26_000)
    assert metric["mode_kl"](seen).value == pytest.approx(floor, abs=3 * spread)
