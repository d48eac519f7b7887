import pytest
import torch
from torch.distributions import Independent

from zoo.observation import DiscretisedLogistic

CORNERS = torch.cartesian_prod(
    torch.tensor([-300.0, -0.5, 3.3, 19.7, 900.0]), torch.linspace(-6, 6, 7)
)


def masses(loc, log_scale, levels):
    """[levels, ...] log-masses of every integer."""
    values = torch.arange(levels).view(-1, *[1] * loc.ndim)
    return DiscretisedLogistic(loc, log_scale, levels).log_prob(values)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_masses_of_all_levels_sum_to_one(levels):
    total = masses(*CORNERS.T, levels).double().logsumexp(dim=0)
    torch.testing.assert_close(total, torch.zeros_like(total), atol=2e-4, rtol=0)
    total = masses(*CORNERS.double().T, levels).logsumexp(dim=0)
    torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-10, rtol=0)


def difference_of_distribution_functions(values, loc, log_scale, levels):
    """The log-mass in float64, taken in the tail where the two terms do not cancel."""
    values, loc, log_scale = torch.broadcast_tensors(
        values.double(), loc.double(), log_scale.double()
    )
    scale = log_scale.exp()
    low, high = (values - 0.5 - loc) / scale, (values + 0.5 - loc) / scale
    low = torch.where(values == 0, -torch.inf, low)
    high = torch.where(values == levels - 1, torch.inf, high)
    mirrored = low > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    return (high.sigmoid() - low.sigmoid()).log()


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_is_the_difference_of_distribution_functions_also_in_far_tails(levels):
    values = torch.arange(levels)[:, None]
    loc, log_scale = (
        torch.tensor([-40.0, -2.3, 5.1, 130.6, 400.0]),
        torch.tensor([0.1, -1.7, 0.6, 1.4, 0.9]),
    )
    expected = difference_of_distribution_functions(values, loc, log_scale, levels)
    assert expected.min() < -30  # the usual switch to the density begins at -11.5
    representable = expected > -700
    exact = DiscretisedLogistic(loc.double(), log_scale.double(), levels).log_prob(values)
    torch.testing.assert_close(exact[representable], expected[representable], rtol=1e-9, atol=1e-9)
    single = DiscretisedLogistic(loc, log_scale, levels).log_prob(values).double()
    torch.testing.assert_close(
        single[representable], expected[representable], rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("levels", [2, 256])
def test_gradients_are_finite_however_far_off_the_parameters_are(levels):
    loc, log_scale = (column.clone().requires_grad_() for column in CORNERS.T)
    masses(loc, log_scale, levels).sum().backward()
    assert loc.grad.isfinite().all()
    assert log_scale.grad.isfinite().all()


def test_samples_come_as_often_as_their_mass_says():
    logistic = DiscretisedLogistic(torch.tensor([1.3, 4.2]), torch.tensor([0.4, -0.8]), levels=5)
    draws = logistic.sample((200_000,))
    assert draws.dtype == torch.uint8
    shares = torch.stack([(draws == level).float().mean(dim=0) for level in range(5)])
    torch.testing.assert_close(
        shares, masses(logistic.loc, logistic.log_scale, 5).exp(), atol=0.005, rtol=0
    )


def test_values_that_are_no_level_are_refused():
    logistic = DiscretisedLogistic(torch.zeros(3), torch.zeros(3), levels=4)
    for wrong in (-1.0, 4.0, 1.5):
        with pytest.raises(ValueError, match="support"):
            logistic.log_prob(torch.full((3,), wrong))


def test_expands_and_becomes_the_distribution_of_an_image():
    logistic = DiscretisedLogistic(torch.randn(1, 2, 3), torch.zeros(1, 2, 3), levels=4)
    images = Independent(logistic.expand((5, 1, 2, 3)), 3)
    assert images.batch_shape == (5,)
    assert images.event_shape == (1, 2, 3)
    assert images.log_prob(images.sample()).shape == (5,)
