import pytest
import torch

from benchmark.spec import DataSpec
from zoo.gan import GAN, discriminator_loss, minimax_loss, non_saturating_loss


def test_losses_are_the_cross_entropies_of_the_discriminators_probabilities():
    real, generated, other = (
        torch.randn(7).double(),
        torch.randn(9).double(),
        torch.randn(4).double(),
    )
    p_real, p_generated, p_other = real.sigmoid(), generated.sigmoid(), other.sigmoid()
    expected = -p_real.log().mean() - (1 - p_generated).log().mean()
    torch.testing.assert_close(discriminator_loss(real, generated), expected)
    expected = expected - (1 - p_other).log().mean()
    torch.testing.assert_close(discriminator_loss(real, generated, other), expected)
    torch.testing.assert_close(non_saturating_loss(generated), -p_generated.log().mean())
    torch.testing.assert_close(minimax_loss(generated), (1 - p_generated).log().mean())


def test_only_the_minimax_loss_saturates_where_samples_are_rejected():
    slopes = []
    for loss in (minimax_loss, non_saturating_loss):
        logits = torch.full((1,), -12.0, requires_grad=True)
        loss(logits).backward()
        slopes.append(logits.grad.item())
    assert slopes[0] == pytest.approx(0, abs=1e-5)
    assert slopes[1] == pytest.approx(-1, abs=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(
        ValueError, match="loss must be 'non_saturating' or 'minimax', got 'hinge'"
    ):
        GAN(DataSpec((2,)), loss="hinge")


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 2), (3, 7, 9), (1, 28, 28), (3, 32, 32)])
def test_images_of_any_size_are_generated(shape):
    model = GAN(DataSpec(shape, levels=5), width=4, latents=3)
    images = model.sample(6)
    assert images.shape == (6, *shape)
    assert images.dtype == torch.uint8
    assert images.max() <= 4
    assert model.generate(torch.randn(2, 3, 3)).shape == (2, 3, *shape)


def test_every_level_can_be_generated_and_rounds_from_its_own_interval():
    scaling = GAN(DataSpec((1, 2, 2), levels=3), width=4).scaling
    edges = torch.tensor([-1.0, -0.34, -0.33, 0.33, 0.34, 1.0])
    assert scaling.quantised(scaling.inverse(edges)).tolist() == [0, 0, 1, 1, 2, 2]


def test_dequantised_images_fill_the_range_of_the_generator_and_keep_their_level():
    scaling = GAN(DataSpec((1, 2, 2), levels=3), width=4).scaling
    levels = torch.randint(0, 3, (5_000,), dtype=torch.uint8)
    spread = scaling.dequantised(levels)
    assert spread.min() > -1
    assert spread.max() < 1
    assert torch.equal(scaling.quantised(scaling.inverse(spread)), levels)
