"""The generative moment matching network: a generator trained by the MMD to the data."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from benchmark.spec import DataSpec, Log
from zoo.layers import PushForward, setting
from zoo.together import Together
from zoo.train import adam, descend, linear_decay, scaled_steps, train_together

# Of the mean squared distance between images. On MNIST with values in [0, 1] that is about 100, so
# these are the source's 2, 5, 10, 20, 40 and 80, carried over to data of any size and scale.
RATIOS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
FINE_RATIOS = (0.0005, 0.005, 0.05, 0.25, 1.0)  # points: modes may be narrow and close
MOST_FOR_MEAN = 10_000  # of the (shuffled) training examples
SMALLEST = 1e-12  # of the squared MMD: keeps the slope of its root finite


def squared_mmd(*, real: Tensor, generated: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """Biased squared maximum mean discrepancy under a sum of Gaussian kernels.

    Each kernel is exp(-|x - y|² / (2 b)), so that a bandwidth b is the square of a length. Pairs
    of an example with itself count (a V-statistic), as in the source: a training loss needs to
    be non-negative more than unbiased.

    Args:
        real: [..., n, d] data.
        generated: [..., m, d] samples, through which gradients flow.
        bandwidths: squared lengths.

    Returns:
        [...] in [0, 2 len(bandwidths)], of the dtype of the examples.

    Source: Li et al. 2015, arXiv:1502.02761, eq. 3; kernels of section 5.1 and the authors' code.
    """
    # Distances come from inner products, which lose digits far from the origin.
    centre = real.mean(dim=-2, keepdim=True)
    x, y = real - centre, generated - centre
    within = _mean_kernel(x, x, bandwidths) + _mean_kernel(y, y, bandwidths)
    return within - 2 * _mean_kernel(x, y, bandwidths)


def mean_square(x: Tensor) -> float:
    """Mean squared distance between two of the examples [n, d], which is 2 Tr Cov.

    Unlike the median it does not shrink to the width of a mode that holds most of the data.
    """
    unit = 2 * x.double().var(dim=0).sum().item()
    if not unit > 0:
        raise ValueError("all training examples coincide: no bandwidth follows from them")
    return unit


class GMMN(PushForward):
    """A generator that descends on the MMD between a batch of samples and a batch of data.

    z is normal here, as for the zoo's other generators, where the source has a uniform one.

    Args:
        bandwidths: squared lengths in the unit of scaled data; by default fixed ratios to the
            mean squared distance of training data.
        steps: of training, at budget 1.
        batch_size: data, and as many samples, in a batch; the source says that it must be large.
        latents: dimension of z.
        width: units of a hidden layer, channels of the widest feature map.
        ema_decay: of the averaged weights that samples come from, 0 for none.

    Source: Li et al. 2015, arXiv:1502.02761, algorithm 1 and section 4.3 (the square root);
    independently Dziugaite et al. 2015, arXiv:1505.03906.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        bandwidths: Sequence[float] | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        latents: int | None = None,
        width: int | None = None,
        learning_rate: float | None = None,
        ema_decay: float = 0.999,
    ) -> None:
        if bandwidths is not None and not all(width > 0 for width in bandwidths):
            raise ValueError(f"bandwidths must be positive, got {tuple(bandwidths)}")
        latents = setting(latents, spec, points=4, small=16, large=32)
        width = setting(width, spec, points=128, small=32, large=32)
        super().__init__(spec, latents, width)
        self.bandwidths = bandwidths
        self.steps = setting(steps, spec, points=5_000, small=2_000, large=20_000)
        self.batch_size = setting(batch_size, spec, points=256, small=256, large=500)
        self.learning_rate = setting(learning_rate, spec, points=1e-3, small=1e-3, large=1e-3)
        self.ema_decay = ema_decay

    def loss(self, real: Tensor, generated: Tensor, bandwidths: Sequence[float]) -> Tensor:
        """The MMD itself, not its square: its slope does not vanish as the two sets meet.

        Args:
            real: [S, n, *shape] data, scaled.
            generated: [S, m, *shape] samples, scaled.
            bandwidths: squared lengths.

        Returns:
            [S], one number for each of S networks.
        """
        # Kernels of close examples differ by less than half precision can tell.
        with torch.autocast(real.device.type, enabled=False):
            squared = squared_mmd(
                real=real.flatten(2), generated=generated.flatten(2), bandwidths=bandwidths
            )
        return squared.clamp(min=SMALLEST).sqrt()

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        self.fit_together([self], train, validation, budget, [log])

    def fit_together(
        self,
        models: Sequence["GMMN"],
        train: Tensor,
        validation: Tensor,
        budget: float,
        logs: Sequence[Log],
    ) -> None:
        steps = scaled_steps(self.steps, budget)
        for model in models:
            model.scaling.fit(train)
        bandwidths = self.bandwidths_for(train)
        generators = Together([model.generator for model in models])
        optimiser = adam(generators.parameters(), self.learning_rate, betas=(0.5, 0.99))

        def generate(n: int) -> Tensor:
            z = torch.randn(len(models), n, self.latents, device=train.device)
            return generators(z).float()

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            real = self.scaling.dequantised(draw())
            discrepancy = self.loss(real, generate(self.batch_size), bandwidths)
            descend(optimiser, discrepancy.sum())
            return {"mmd": discrepancy}

        train_together(
            generators,
            update,
            logs=logs,
            optimisers=[optimiser],
            schedulers=[linear_decay(optimiser, steps, start=0.5)],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            sample=lambda n: self.scaling.inverse(generate(n)),
            ema_decay=self.ema_decay or None,
        )
        generators.write_back()

    def bandwidths_for(self, train: Tensor) -> list[float]:
        """Squared lengths for training data [n, *shape], in the unit of scaled data."""
        if self.bandwidths is not None:
            return list(self.bandwidths)
        ratios = RATIOS if self.spec.is_image else FINE_RATIOS
        unit = mean_square(self.scaling(train[:MOST_FOR_MEAN]).flatten(1))
        return [ratio * unit for ratio in ratios]


def _mean_kernel(x: Tensor, y: Tensor, bandwidths: Sequence[float]) -> Tensor:
    squares = x.square().sum(dim=-1)[..., :, None] + y.square().sum(dim=-1)[..., None, :]
    exponent = (squares - 2 * (x @ y.mT)).clamp(min=0) * -0.5
    kernels = [torch.exp(exponent / width).mean(dim=(-2, -1)) for width in bandwidths]
    return torch.stack(kernels).sum(dim=0)
