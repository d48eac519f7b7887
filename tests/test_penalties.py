import pytest
import torch
from torch.nn.functional import normalize

from zoo.penalties import PENALTIES, SpectralNorm, clip, dragan_penalty, gradient_penalty


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_a_linear_critic_is_penalised_by_the_distance_of_its_slope_from_one(penalty):
    weights = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)  # of three critics
    real, generated = torch.randn(2, 3, 6, 2, 2, dtype=torch.float64)
    found = penalty(lambda x: (x * weights[:, None]).sum(dim=(2, 3)) + 3, real, generated)
    norms = weights.detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(found, (norms - 1).square())
    found.sum().backward()
    expected = 2 * ((norms - 1) / norms).view(3, 1, 1) * weights.detach()
    torch.testing.assert_close(weights.grad, expected)


def critic(x):
    mixing = torch.linspace(-1, 1.5, 9, dtype=torch.float64).sin().view(3, 3)
    return (x @ mixing).tanh().sum(dim=-1) + x.prod(dim=-1)


def mean_slope_error(points):
    """By differences, over the points [S, n, 3]."""
    small = 1e-6
    slopes = [
        (critic(points + small * axis) - critic(points - small * axis)) / (2 * small)
        for axis in torch.eye(3, dtype=torch.float64)
    ]
    return (torch.stack(slopes, dim=-1).norm(dim=-1) - 1).square().mean(dim=1)


def test_any_critic_is_penalised_by_its_slope_between_the_pairs():
    real, generated = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    torch.manual_seed(11)
    penalty = gradient_penalty(critic, real, generated)
    torch.manual_seed(11)
    share = torch.rand(2, 5, 1, dtype=torch.float64)
    between = share * real + (1 - share) * generated
    torch.testing.assert_close(penalty, mean_slope_error(between), rtol=1e-7, atol=1e-7)


def test_dragan_penalises_the_slope_around_the_data_alone():
    real = torch.randn(2, 5, 3, dtype=torch.float64) * torch.tensor([1.0, 4.0]).view(2, 1, 1)
    torch.manual_seed(11)
    penalty = dragan_penalty(critic, real, torch.full_like(real, float("nan")))
    torch.manual_seed(11)
    spread = torch.stack([real[0].std(), real[1].std()]).view(2, 1, 1) / 2
    around = real + spread * torch.randn_like(real)
    torch.testing.assert_close(penalty, mean_slope_error(around), rtol=1e-7, atol=1e-7)


def test_each_image_has_one_share_for_all_its_pixels():
    seen = []

    def scores(x):
        seen.append(x.detach())
        return x.sum(dim=(2, 3, 4))

    gradient_penalty(scores, torch.ones(2, 4, 1, 3, 3), torch.zeros(2, 4, 1, 3, 3))
    pixels = seen[0].flatten(2)
    assert torch.equal(pixels, pixels[:, :, :1].expand(2, 4, 9))
    assert len(pixels[:, :, 0].unique()) == 8


def test_clipping_moves_only_what_is_out_of_bounds():
    weight = torch.nn.Parameter(torch.tensor([-0.4, -0.01, 0.02, 7.0]))
    clip([weight], 0.1)
    assert weight.tolist() == pytest.approx([-0.1, -0.01, 0.02, 0.1])


def weights():
    """Of two networks: a dense layer, a convolution, a bias."""
    return {
        "layer.weight": torch.randn(2, 7, 4, dtype=torch.float64),
        "layer.bias": torch.randn(2, 7, dtype=torch.float64),
        "filter": torch.randn(2, 3, 5, 2, 2, dtype=torch.float64),
    }


def singular_values(weight):
    return torch.linalg.svdvals(weight.flatten(2))


def test_spectral_norm_divides_by_the_largest_singular_value():
    given = weights()
    normalise = SpectralNorm(given)
    for _ in range(100):
        found = normalise(given)
    for name in ("layer.weight", "filter"):
        largest = singular_values(given[name])[:, 0]
        shape = (2, *[1] * (given[name].ndim - 1))
        torch.testing.assert_close(found[name], given[name] / largest.view(shape))
    assert torch.equal(found["layer.bias"], given["layer.bias"])


def test_the_slope_of_a_normalised_weight_is_that_of_dividing_by_the_svds_value():
    given = {"filter": torch.randn(2, 4, 3, 2, 2, dtype=torch.float64, requires_grad=True)}
    normalise = SpectralNorm(given)
    for _ in range(200):
        normalise(given)
    direction = torch.randn_like(given["filter"])

    def slope(normalised):
        return torch.autograd.grad((normalised * direction).sum(), given["filter"])[0]

    exact = given["filter"] / singular_values(given["filter"])[:, 0].view(2, 1, 1, 1, 1)
    torch.testing.assert_close(slope(normalise(given)["filter"]), slope(exact))


def test_one_step_a_call_follows_weights_that_move():
    given = weights()
    normalise = SpectralNorm(given)
    for _ in range(300):
        given = {name: value + 0.01 * torch.randn_like(value) for name, value in given.items()}
        found = normalise(given)
    largest = torch.cat(
        [singular_values(found[name])[:, 0] for name in ("layer.weight", "filter")]
    )
    assert largest.tolist() == pytest.approx([1.0] * 4, abs=0.03)


def test_the_vector_of_the_power_iteration_is_kept_with_the_weights():
    normalise = SpectralNorm(weights())
    state = normalise.state_dict()
    assert sorted(state) == ["filter", "layer_weight"]
    for vector in state.values():
        torch.testing.assert_close(vector, normalize(vector, dim=1))
