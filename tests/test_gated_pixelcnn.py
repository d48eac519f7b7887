import pytest
import torch
from pixel_models import Silence, every_image, random_model

from benchmark.spec import DataSpec
from zoo.gated_pixelcnn import GatedPixelCNN, gated
from zoo.naive_sampling import draw_naively


def test_gates_are_the_second_half():
    x = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(gated(x), x[:, :3].tanh() / (1 + torch.exp(-x[:, 3:])))


def conditional_model(shape=(1, 2, 2), levels=3):
    return random_model(GatedPixelCNN, shape, levels, classes=3)


def test_every_class_has_probabilities_of_its_own_that_sum_to_one():
    model, images = conditional_model(), every_image((1, 2, 2), 3)

    with torch.no_grad():
        log_probs = [model.log_prob(images, torch.full((81,), label)) for label in range(3)]

    for log_prob in log_probs:
        assert torch.logsumexp(log_prob, dim=0).item() == pytest.approx(0, abs=1e-5)
    assert (log_probs[0] - log_probs[1]).abs().mean() > 0.1
    assert (log_probs[1] - log_probs[2]).abs().mean() > 0.1


def test_a_class_acts_in_every_layer_as_a_shift_of_the_biases_of_both_stacks():
    told = conditional_model().conditionals.network
    plain = GatedPixelCNN(DataSpec((1, 2, 2), 3), filters=12, blocks=3).conditionals.network
    plain.load_state_dict({k: v for k, v in told.state_dict().items() if k != "class_shifts"})
    x = torch.rand(1, 1, 2, 2)
    label = 2
    with torch.no_grad():
        for above, link, (own, other) in zip(
            plain.above, plain.links, told.class_shifts[label], strict=True
        ):
            above.bias += own
            link.bias += other
        expected = plain(x, None)

        torch.testing.assert_close(told(x, torch.tensor([label])), expected)


def test_cached_sampling_of_classes_equals_the_plain_loop():
    conditionals = conditional_model((2, 5, 4), levels=9).conditionals
    uniform, labels = torch.rand(6, *conditionals.noise_shape), torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad():
        cached = conditionals.draw(uniform, torch.zeros_like(uniform), 0, labels)
        naive = draw_naively(conditionals, uniform, torch.zeros_like(uniform), 0, labels)
    assert torch.equal(cached, naive)


def test_learns_what_tells_the_classes_apart():
    labels = torch.randint(0, 2, (200,))
    images = (2 * labels).view(-1, 1, 1, 1).expand(-1, 1, 3, 3).byte()
    model = GatedPixelCNN(
        DataSpec((1, 3, 3), levels=3),
        filters=4,
        blocks=2,
        classes=2,
        steps=200,
        learning_rate=0.01,
    )

    model.fit(images[:150], images[150:], 1.0, Silence(), (labels[:150], labels[150:]))

    drawn = model.sample(40, torch.arange(2).repeat(20)).float()
    assert drawn[::2].mean() < 0.5
    assert drawn[1::2].mean() > 1.5
