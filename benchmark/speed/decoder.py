"""The decoder that annealing is timed on: 50-200-200-784, trained on digits enlarged to 28x28."""

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
from torch.nn import functional

from benchmark.data import load_dataset
from benchmark.randomness import derive_seed, fork_rng

LATENTS, WIDTH, SIDE = 50, 200, 28
STEPS, BATCH, RATE = 2_000, 100, 1e-3


class BernoulliVAE(nn.Module):
    """z ~ N(0, I) with 50 latents, two layers of 200 tanh units, 784 binary pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = _layers(LATENTS, SIDE * SIDE)
        self.encoder = _layers(SIDE * SIDE, 2 * LATENTS)

    def prior(self) -> Independent:
        zeros = next(self.parameters()).new_zeros(LATENTS)
        return Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1)

    def decode(self, z: Tensor) -> Independent:
        return Independent(Bernoulli(logits=self.decoder(z), validate_args=False), 1)

    def encode(self, x: Tensor) -> Independent:
        mean, log_scale = self.encoder(x).chunk(2, dim=-1)
        return Independent(Normal(mean, log_scale.exp(), validate_args=False), 1)

    def bound(self, x: Tensor) -> Tensor:
        """[n] evidence lower bound with one draw of z, nats."""
        posterior = self.encode(x)
        reconstruction = self.decode(posterior.rsample()).log_prob(x)
        return reconstruction - kl_divergence(posterior, self.prior())


def trained_decoder() -> BernoulliVAE:
    """Trains it anew, the same each time; seconds on a processor."""
    data = load_dataset("digits")
    size = (SIDE, SIDE)
    images = functional.interpolate(data.train.float() / 16, size, mode="bilinear").flatten(1)
    with fork_rng(derive_seed("decoder to time")):
        model = BernoulliVAE()
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
        for _ in range(STEPS):
            x = torch.bernoulli(images[torch.randint(len(images), (BATCH,))])
            optimiser.zero_grad()
            (-model.bound(x).mean()).backward()
            optimiser.step()
    return model.requires_grad_(False).eval()


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH),
        nn.Tanh(),
        nn.Linear(WIDTH, WIDTH),
        nn.Tanh(),
        nn.Linear(WIDTH, outputs),
    )
