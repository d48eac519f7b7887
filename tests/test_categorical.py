import torch
from torch.distributions import Categorical

from benchmark.spec import DataSpec
from zoo.categorical import CategoricalConditionals
from zoo.causal_network import CausalNetwork
from zoo.layers import Scaling

SPEC = DataSpec((2, 3, 4), levels=5)


class Constant(CausalNetwork):
    """The same logits for every image."""

    widest = cached = 1  # unused here

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, scaled, labels):
        return self.logits.expand(len(scaled), -1, -1, -1)


def test_log_prob_is_that_of_torchs_categorical_distribution():
    logits = torch.randn(2 * 5, 3, 4)
    images = torch.randint(0, 5, (7, *SPEC.shape))
    head = CategoricalConditionals(SPEC, Constant(logits))

    found = head.log_prob(Scaling(SPEC)(images), None)

    levels_last = logits.view(2, 5, 3, 4).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, Categorical(logits=levels_last).log_prob(images).sum(dim=1))


def test_evenly_spread_numbers_give_every_level_its_share():
    head, logits = CategoricalConditionals(SPEC, Constant(None)), torch.randn(10)
    uniform = ((torch.arange(10_000) + 0.5) / 10_000)[:, None].expand(-1, 2)

    drawn = Scaling(SPEC).inverse(head.pixel(logits.expand(10_000, 10), uniform)).round().long()

    for channel, masses in enumerate(logits.view(2, 5).softmax(dim=1)):
        shares = torch.bincount(drawn[:, channel], minlength=5) / 10_000
        torch.testing.assert_close(shares, masses, rtol=0, atol=1e-4 + 1e-6)


def test_a_level_without_mass_is_never_drawn():
    head = CategoricalConditionals(SPEC, Constant(None))
    logits = torch.tensor([-200.0, 0, -200, 0, -200]).repeat(2)
    ends = torch.tensor([[0.0, 0.0], [1 - 2**-24, 1 - 2**-24]])

    drawn = Scaling(SPEC).inverse(head.pixel(logits.expand(2, 10), ends)).round()

    assert drawn.tolist() == [[1, 1], [3, 3]]
