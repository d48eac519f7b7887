"""A likelihood for generators: noise around what they generate, its size fitted to data."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints

from benchmark.estimators.hmc import transition
from benchmark.estimators.latents import Gaussian, StandardLatents
from benchmark.estimators.likelihood import Likelihood
from benchmark.estimators.path import Path, Position
from benchmark.estimators.pilot import QUARTER_PERIOD, adapted
from benchmark.spec import DataSpec, Encoder, Generator, LatentModel

EXAMPLES = 50  # validation examples that sigma is fitted on
NEAREST, CANDIDATES = 2, 2_000  # chains an example, and the draws they are the nearest of
ROUNDS, MOVES, LEAPFROG = 50, 3, 3
SETTLED = 20  # last rounds, whose mean log sigma is the answer
LEAST_SHARE = 1e-4  # of the data's standard deviation; sigma is not fitted below it


class DiscretisedGaussian(Distribution):
    """A Gaussian rounded to the integers 0..levels-1, the first and last taking its tails.

    Args:
        loc: [...] mean before rounding, in levels.
        sigma: [] standard deviation, in levels.
        levels: how many integers there are.
    """

    arg_constraints = {"loc": constraints.real}  # noqa: RUF012

    def __init__(self, loc: Tensor, sigma: Tensor, levels: int) -> None:
        self.loc, self.sigma, self.levels = loc, sigma, levels
        super().__init__(loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass in nats of integers [...], accurate to rounding even far in the tails.

        The mass between the ends a < b is taken on the side of the mean where both are small:
        there it is Phi(b) (1 - Phi(a) / Phi(b)), in which nothing cancels.
        """
        offset = (value - self.loc) / self.sigma
        half = 0.5 / self.sigma
        flipped = offset > 0
        middle = torch.where(flipped, -offset, offset)
        upper = torch.special.log_ndtr(middle + half)
        lower = torch.special.log_ndtr(middle - half)
        inner = upper + torch.log(-torch.expm1(lower - upper))
        first = torch.special.log_ndtr(offset + half)
        last = torch.special.log_ndtr(half - offset)
        mass = torch.where(value == 0, first, inner)
        return torch.where(value == self.levels - 1, last, mass)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws integers [*sample_shape, ...], as floats."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return (self.loc + self.sigma * noise).round().clamp(0, self.levels - 1)


class Observation:
    """The latent-variable model x = generate(z) + sigma noise: a mass on images.

    Args:
        generator: gives `prior()` and `generate(z)`.
        spec: of the data; on images the noise is rounded to levels, on points it is not.
        sigma: standard deviation of the noise in the data's own units (levels of images).
    """

    def __init__(self, generator: Generator, spec: DataSpec, sigma: float) -> None:
        if not (sigma > 0 and math.isfinite(sigma)):
            raise ValueError(f"sigma must be positive and finite, got {sigma}")
        self.generator, self.spec = generator, spec
        self.sigma = torch.tensor(float(sigma))

    def prior(self) -> Distribution:
        return self.generator.prior()

    def decode(self, z: Tensor) -> Independent:
        loc = self.generator.generate(z)
        return Independent(self.noise(loc), len(self.spec.shape))

    def noise(self, loc: Tensor) -> Distribution:
        """The distribution of each coordinate around `loc` [...]."""
        self.sigma = self.sigma.to(loc)
        if self.spec.levels is None:
            return Normal(loc, self.sigma.expand_as(loc), validate_args=False)
        return DiscretisedGaussian(loc, self.sigma, self.spec.levels)


class EncodedObservation(Observation):
    """The same for a generator that comes with an encoder."""

    def encode(self, x: Tensor) -> Distribution:
        assert isinstance(self.generator, Encoder)
        return self.generator.encode(x)


def observed(generator: Generator, spec: DataSpec, sigma: float) -> LatentModel:
    """The generator with its observation model, and its encoder if it has one."""
    kind = EncodedObservation if isinstance(generator, Encoder) else Observation
    return kind(generator, spec, sigma)


def fit_sigma(generator: Generator, spec: DataSpec, validation: Tensor) -> float:
    """The sigma under which validation data are likeliest, by Monte Carlo EM.

    Chains of z follow the posterior while sigma, begun at the distance to the nearest of many
    samples, is set in each round to what maximises the mean of log p(x given z) over them. Sigma
    shrinks from above, and so the chains are annealed.

    Args:
        generator: gives `prior()` and `generate(z)`.
        spec: of the data.
        validation: [m, *shape]; the first EXAMPLES of them are used.

    Returns:
        sigma in the data's own units, and never below a ten-thousandth of their spread.

    Source: Wei and Tanner 1990, "A Monte Carlo implementation of the EM algorithm".
    """
    x = validation[:EXAMPLES]
    with torch.no_grad():
        return _Fit(generator, spec, x).run()


class _Fit:
    def __init__(self, generator: Generator, spec: DataSpec, x: Tensor) -> None:
        self.model = Observation(generator, spec, 1.0)
        self.x, self.spec = x, spec
        self.latents = StandardLatents(self.model)
        likelihood = Likelihood(self.latents, x)
        start = Gaussian.standard(len(x), self.latents.latents, x.device)
        self.path = Path(likelihood, start, from_prior=True)
        self.least = LEAST_SHARE * x.float().std().item() + 1e-12
        self.steps = torch.full((len(x),), QUARTER_PERIOD / LEAPFROG, device=x.device)

    def run(self) -> float:
        u, distance = self._nearest()
        self.model.sigma = distance.square().mean().sqrt().clamp(min=self.least)
        history = []
        for _ in range(ROUNDS):
            position = self.path.evaluate(u)
            for _ in range(MOVES):
                position = self._moved(position)
            u = position.u
            residuals = self.model.generator.generate(self.latents.z(u))
            self.model.sigma = self._likeliest(residuals)
            history.append(self.model.sigma.log())
        sigma = torch.stack(history[-SETTLED:]).mean().exp().item()
        if not math.isfinite(sigma):
            raise ValueError(
                "sigma could not be fitted: generate(z) gives values that are no numbers"
            )
        return sigma

    def _nearest(self) -> tuple[Tensor, Tensor]:
        """[n, NEAREST, latents] draws nearest to each datum, and root mean square distances."""
        u = torch.randn(CANDIDATES, self.latents.latents, device=self.x.device)
        drawn = self.model.generator.generate(self.latents.z(u)).flatten(1)
        distances = torch.cdist(self.x.flatten(1).float(), drawn.float())
        nearest = distances.topk(NEAREST, largest=False)
        return u[nearest.indices], nearest.values / math.sqrt(self.spec.dims)

    def _moved(self, position: Position) -> Position:
        beta = torch.ones(len(self.steps), device=self.x.device)
        scale = self.steps.view(-1, 1, 1).expand(-1, 1, self.latents.latents)
        moved = transition(self.path, position, beta, scale, LEAPFROG)
        self.steps = adapted(self.steps, moved, LEAPFROG)
        return moved.position

    def _likeliest(self, generated: Tensor) -> Tensor:
        """The sigma with the highest mean log p(x given z); closed on points, else searched."""
        offsets = self.x.unsqueeze(1) - generated
        closed = offsets.square().mean().sqrt().clamp(min=self.least)
        if self.spec.levels is None:
            return closed
        best = closed
        for width in (0.5, 0.15, 0.04):
            trials = best * torch.linspace(1 - width, 1 + width, 7).to(best)
            best = trials[torch.stack([self._fitness(generated, s) for s in trials]).argmax()]
        return best.clamp(min=self.least)

    def _fitness(self, generated: Tensor, sigma: Tensor) -> Tensor:
        assert self.spec.levels is not None
        return (
            DiscretisedGaussian(generated, sigma, self.spec.levels)
            .log_prob(self.x.unsqueeze(1))
            .mean()
        )
