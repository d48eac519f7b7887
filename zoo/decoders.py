"""The decoders whose likelihoods Wu et al. (2017) compared: a VAE, a GAN and a GMMN, 10 and 50 z.

All three push z ~ N(0, I) through the same multilayer perceptron to numbers in [0, 1], and leave
it to the benchmark to add an observation model, the same way for each.

Source: Wu et al. 2017, arXiv:1611.04273, section 5. What that leaves open (the discriminator, the
optimisers and how long to train) is said here at each default.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent, kl_divergence

from benchmark.spec import DataSpec, Log
from zoo.gan import GAN
from zoo.gmmn import GMMN
from zoo.layers import PushForward, Scaling, mlp
from zoo.train import adam, descend, linear_decay, scaled_steps
from zoo.train import train as run_training
from zoo.vae import GaussianEncoder

HIDDEN = {10: (64, 256, 256, 1024), 50: (1024, 1024, 1024)}  # units, from z outwards
JUDGE_HIDDEN = (1024, 512, 256)  # ours: of the discriminator, from the image inwards
BANDWIDTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
VARIANCES = {10: 0.01, 50: 0.005}  # ours: near the mean squared error that each can reach


class UnitInterval(Scaling):
    """Data that lie in [0, 1] already, which is where the networks' sigmoid ends."""

    def fit(self, x: Tensor) -> None:
        """Checks that data are where they are said to be.

        Raises:
            ValueError: they are not.
        """
        low, high = (bound.item() for bound in x.aminmax())
        if low < 0 or high > 1:
            raise ValueError(f"the data must lie in [0, 1], they reach from {low:g} to {high:g}")


def decoder(spec: DataSpec, latents: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """A network that takes z [n, latents] to [n, *shape] in [0, 1].

    Raises:
        ValueError: no such network, or the data are integers.
    """
    if latents not in HIDDEN:
        raise ValueError(f"latents must be 10 or 50, got {latents}")
    if spec.is_image:
        raise ValueError(
            f"these decoders are for numbers in [0, 1], as in mnist_dequantised, not for images "
            f"with {spec.levels} levels"
        )
    layers = perceptron([latents, *HIDDEN[latents], spec.dims], activation)
    return nn.Sequential(*layers, nn.Sigmoid(), nn.Unflatten(1, spec.shape))


def perceptron(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """A multilayer perceptron that starts as the source's do: from small weights it learns late.

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward
    neural networks", eq. 16.
    """
    network = mlp(sizes, activation)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


class VAE(PushForward):
    """Trained with a Gaussian observation of fixed variance, by an encoder the mirror image.

    It claims no density of x given z: the variance that suits a trained decoder is not the one
    that it was trained with. Training is neither averaged nor stopped early, so that what there
    is of overfitting shows in the gap between training and test likelihood, as in the source.

    Args:
        latents: 10 or 50, which picks the network.
        variance: of the observation while training, data units squared.
        steps: of training, at budget 1: 200 epochs.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        latents: int = 10,
        variance: float | None = None,
        steps: int = 100_000,
        batch_size: int = 100,
        learning_rate: float = 2e-4,
    ) -> None:
        generator = decoder(spec, latents, nn.Tanh)
        super().__init__(spec, latents, width=1)
        self.generator, self.scaling = generator, UnitInterval(spec)
        self.encoder = GaussianEncoder(spec, latents, width=1)
        sizes = [spec.dims, *reversed(HIDDEN[latents]), 2 * latents]
        self.encoder.network = nn.Sequential(nn.Flatten(), *perceptron(sizes, nn.Tanh))
        self.variance = VARIANCES[latents] if variance is None else variance
        self.steps, self.batch_size, self.learning_rate = steps, batch_size, learning_rate

    def encode(self, x: Tensor) -> Independent:
        return self.encoder(x)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The log p(x given z) of one z ~ q(z given x), and KL(q | p): [n] nats each."""
        posterior = self.encode(x)
        error = (x - self.generate(posterior.rsample())).square().flatten(1).sum(dim=1)
        constant = self.spec.dims * math.log(2 * math.pi * self.variance)
        reconstruction = -(error / self.variance + constant) / 2
        return reconstruction, kl_divergence(posterior, self.prior())

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        steps = scaled_steps(self.steps, budget)
        self.scaling.fit(train)
        # Samples begin as the mean image, not grey, as in Burda et al. 2016, arXiv:1509.00519.
        mean = train.mean(dim=0).clamp(0.001, 0.999).flatten()
        last = [layer for layer in self.generator if isinstance(layer, nn.Linear)][-1]
        last.bias.data.copy_(torch.logit(mean))
        optimiser = adam(self.parameters(), self.learning_rate)

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            reconstruction, divergence = (term.mean() for term in self.terms(draw()))
            loss = divergence - reconstruction
            descend(optimiser, loss)
            return {"loss": loss, "reconstruction": -reconstruction, "kl": divergence}

        run_training(
            self,
            update,
            optimisers=[optimiser],
            schedulers=[linear_decay(optimiser, steps, start=0.5)],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            log=log,
        )


def gan(
    spec: DataSpec,
    *,
    latents: int = 10,
    steps: int = 100_000,
    batch_size: int = 100,
    learning_rate: float = 5e-4,
    dropout: float = 0.5,
) -> GAN:
    """A GAN over the same decoder.

    Args:
        spec: of data in [0, 1].
        latents: 10 or 50, which picks the network.
        steps: of training, at budget 1: 200 epochs.
        batch_size: examples in a batch.
        learning_rate: ours, of both networks: at a fifth of it samples soon lacked variety.
        dropout: ours, after each hidden layer of the discriminator.
    """
    generator = decoder(spec, latents, nn.Tanh)
    model = GAN(
        spec,
        steps=steps,
        batch_size=batch_size,
        latents=latents,
        width=1,
        learning_rate=learning_rate,
    )
    model.generator, model.scaling = generator, UnitInterval(spec)

    def activation() -> nn.Module:
        return nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(dropout))

    judge = perceptron([spec.dims, *JUDGE_HIDDEN, 1], activation)
    model.discriminator = nn.Sequential(nn.Flatten(), *judge, nn.Flatten(0))
    return model


def gmmn(
    spec: DataSpec,
    *,
    latents: int = 10,
    steps: int = 40_000,
    batch_size: int = 1_000,
    learning_rate: float = 1e-3,
) -> GMMN:
    """A GMMN over the same decoder, its hidden units rectified.

    Args:
        spec: of data in [0, 1].
        latents: 10 or 50, which picks the network.
        steps: of training, at budget 1; as many as Li et al. (2015) took in their code.
        batch_size: examples in a batch, and as many samples.
        learning_rate: of Adam, where the source has momentum.
    """
    generator = decoder(spec, latents, nn.ReLU)
    model = GMMN(
        spec,
        bandwidths=BANDWIDTHS,
        steps=steps,
        batch_size=batch_size,
        latents=latents,
        width=1,
        learning_rate=learning_rate,
    )
    model.generator, model.scaling = generator, UnitInterval(spec)
    return model
