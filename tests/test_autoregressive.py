import pytest
import torch
from pixel_models import FAMILIES, Silence, every_image, random_model

from benchmark.spec import Completer, DataSpec, Density, Sampler, Trainable
from zoo.gated_pixelcnn import GatedPixelCNN
from zoo.pixelcnn import PixelCNN

TINY = (1, 2, 2)
EVERY_IMAGE = every_image(TINY, levels=3)
families = pytest.mark.parametrize("family", FAMILIES)


def tiny_model(make=PixelCNN, **settings):
    return random_model(make, TINY, 3, **settings)


def gated_model(classes):
    model = tiny_model(GatedPixelCNN, classes=classes)
    if classes:
        model.classes.learn(torch.tensor([0, 1, 1, 1, 1, 1, 2, 2]))
        model.conditionals.network.class_shifts.data *= 5  # so that what is kept tells the class
    return model


def excess(counts, expected):
    """Pearson's statistic over the images that can be expected at least five times."""
    likely = expected >= 5
    return ((counts - expected).square()[likely] / expected[likely]).sum(), likely.sum()


def counts_of(images):
    index = images.flatten(1).long() @ torch.tensor([27, 9, 3, 1])
    return torch.bincount(index, minlength=81)


@families
def test_satisfies_the_protocols_of_an_exact_model(family):
    model = FAMILIES[family](DataSpec((1, 4, 3), levels=5))
    for protocol in (Density, Sampler, Trainable, Completer):
        assert isinstance(model, protocol)


def test_tells_how_many_are_drawn(monkeypatch):
    model, told = tiny_model(), []
    model.tell_progress(lambda *seen: told.append(seen))
    monkeypatch.setattr("zoo.autoregressive.CHUNK_SAMPLES", 4)
    assert len(model.sample(10)) == 10
    assert told == [(4, 10), (8, 10), (10, 10)]


@families
def test_points_are_refused(family):
    with pytest.raises(ValueError, match="a model of images"):
        FAMILIES[family](DataSpec((2,)))


@pytest.mark.parametrize("classes", [None, 3])
def test_sampled_images_have_their_probabilities_as_frequencies(classes):
    model = gated_model(classes)
    with torch.no_grad():
        expected = 20_000 * model.log_prob(EVERY_IMAGE).exp()

    drawn = model.sample(20_000)

    statistic, degrees = excess(counts_of(drawn), expected)
    assert drawn.dtype == torch.uint8
    assert degrees > 40
    assert statistic < degrees + 4 * (2 * degrees) ** 0.5


@pytest.mark.parametrize("classes", [None, 3])
def test_completions_follow_the_probabilities_given_the_rows_that_are_kept(classes):
    model = gated_model(classes)
    kept = torch.tensor([[[[2, 1], [0, 0]]]])
    with torch.no_grad():
        log_prob = model.log_prob(EVERY_IMAGE)
    fits = (EVERY_IMAGE[:, 0, 0] == kept[:, 0, 0]).all(dim=1)
    expected = 20_000 * log_prob.masked_fill(~fits, -torch.inf).softmax(dim=0)

    drawn = model.complete(kept.expand(20_000, -1, -1, -1), rows=1)

    statistic, degrees = excess(counts_of(drawn), expected)
    assert (drawn[:, :, 0] == kept[:, :, 0]).all()
    assert degrees > 4
    assert statistic < degrees + 4 * (2 * degrees) ** 0.5


@families
def test_completing_no_row_draws_and_completing_all_changes_nothing(family):
    model = random_model(FAMILIES[family], (2, 3, 4), levels=7)
    images = torch.randint(0, 7, (5, 2, 3, 4)).byte()
    assert torch.equal(model.complete(images, rows=3), images)
    torch.manual_seed(5)
    drawn = model.complete(images, rows=0)
    torch.manual_seed(5)
    assert torch.equal(model.sample(5), drawn)


def test_the_mass_of_an_image_is_that_of_its_classes_in_their_shares():
    model = tiny_model(GatedPixelCNN, classes=2)
    model.classes.learn(torch.tensor([0] * 2 + [1] * 5))  # and one more of each: 3 and 6 of 9
    with torch.no_grad():
        first, second = (model.log_prob(EVERY_IMAGE, torch.full((81,), y)) for y in (0, 1))
        found = model.log_prob(EVERY_IMAGE)
    torch.testing.assert_close(found.exp(), first.exp() / 3 + second.exp() * 2 / 3)


@families
def test_log_prob_takes_bytes_and_does_not_depend_on_the_batch(family):
    model = random_model(FAMILIES[family], (3, 4, 4), levels=256)
    images = torch.randint(0, 256, (6, 3, 4, 4))
    with torch.no_grad():
        whole = model.log_prob(images)
        model._chunk = 4  # as it is where images are large
        torch.testing.assert_close(model.log_prob(images.byte()), whole)


def test_no_examples_are_an_empty_answer():
    model = tiny_model(GatedPixelCNN, classes=3)
    assert model.sample(0).shape == (0, *TINY)
    assert model.log_prob(EVERY_IMAGE[:0], torch.zeros(0).long()).shape == (0,)


@families
def test_training_lowers_the_loss_and_repeats_exactly_from_its_seed(family):
    data = torch.randint(0, 2, (64, 1, 4, 1)).expand(-1, -1, -1, 4).byte()

    def trained():
        torch.manual_seed(3)
        model = FAMILIES[family](DataSpec((1, 4, 4), 5), steps=400, batch_size=16, filters=8)
        before = model.log_prob(data).mean()
        model.fit(data[:48], data[48:], budget=0.1, log=Silence())
        return before, model

    (before, first), (_, second) = trained(), trained()

    assert first.log_prob(data).mean() > before + 0.3
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    restored = FAMILIES[family](DataSpec((1, 4, 4), 5), filters=8)
    restored.load_state_dict(first.state_dict())
    assert torch.equal(restored.log_prob(data), first.log_prob(data))


def test_batches_too_large_for_memory_are_halved_with_a_message(monkeypatch):
    model = tiny_model()
    draw = model.conditionals.draw

    def limited(uniform, *rest):
        if len(uniform) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw(uniform, *rest)

    torch.manual_seed(1)
    whole = model.sample(5)
    monkeypatch.setattr(model.conditionals, "draw", limited)
    torch.manual_seed(1)
    with pytest.warns(UserWarning, match="does not fit in memory: halved to"):
        assert torch.equal(model.sample(5), whole)


def labels(*values):
    return torch.tensor(values)


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda m: m.log_prob(torch.full((2, *TINY), 3)), r"levels from 0 to 2, got some from 3"),
        (lambda m: m.log_prob(torch.full((2, *TINY), -1)), r"got some from -1 to -1"),
        (lambda m: m.log_prob(torch.zeros(2, 1, 3, 2)), r"must be \[n, 1, 2, 2\]: \[2, 1, 3, 2\]"),
        (lambda m: m.complete(EVERY_IMAGE, rows=3), r"rows must lie between 0 and 2, got 3"),
        (lambda m: m.sample(2, labels(0, 1)), r"build it with classes"),
    ],
)
def test_data_that_are_not_the_models_are_refused_in_one_line(ask, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        ask(tiny_model())
    assert "\n" not in str(error.value)


def test_training_images_outside_the_levels_are_refused():
    images = torch.full((8, *TINY), 200).byte()
    with pytest.raises(ValueError, match="levels from 0 to 2"):
        tiny_model().fit(images, images, 1.0, Silence())


@pytest.mark.parametrize("settings", [{"filters": 5}, {"blocks": 2}, {"classes": 2}])
def test_a_checkpoint_from_another_configuration_is_refused_in_one_line(settings):
    other = tiny_model(GatedPixelCNN, **settings)
    with pytest.raises(ValueError, match="another configuration: build the model with") as error:
        tiny_model(GatedPixelCNN).load_state_dict(other.state_dict())
    assert "\n" not in str(error.value)
