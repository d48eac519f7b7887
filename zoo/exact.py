"""What models with an exact density of points share: scaling, sampling, maximum likelihood."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmark.spec import DataSpec, Log
from zoo.layers import Scaling, in_chunks
from zoo.together import Together
from zoo.train import adam, descend, linear_decay, scaled_steps, train_together

CHUNK_NUMBERS = 4_000_000  # in a network's output: bounds memory however many are asked about


class DensityNetwork(nn.Module):
    """A network that gives the log-density of scaled points [n, d], [n] nats, and draws them."""

    numbers: int  # that one example takes in the widest layer

    def sample(self, n: int) -> Tensor:
        """Draws scaled points [n, d]."""
        raise NotImplementedError


class ExactDensity(nn.Module):
    """A density network around which data are scaled, trained by maximum likelihood."""

    def __init__(
        self,
        spec: DataSpec,
        network: DensityNetwork,
        *,
        steps: int,
        batch_size: int,
        learning_rate: float,
        ema_decay: float,
    ) -> None:
        if spec.is_image:
            raise ValueError(
                f"{type(self).__name__} has a density of points, and images with {spec.levels} "
                "levels have masses: take a model of images, such as zoo.pixelcnn_pp:PixelCNNpp"
            )
        super().__init__()
        self.spec = spec
        self.network = network
        self.scaling = Scaling(spec)
        self.steps, self.batch_size = steps, batch_size
        self.learning_rate, self.ema_decay = learning_rate, ema_decay

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density, [n] nats for x [n, *shape]."""
        size = max(1, CHUNK_NUMBERS // self.network.numbers)
        return torch.cat([self._log_prob(part) for part in x.split(size)])

    def _log_prob(self, x: Tensor) -> Tensor:
        return self.network(self.scaling(x).flatten(1)) - self.scaling.scale.log().sum()

    def sample(self, n: int) -> Tensor:
        """Draws [n, *shape]."""

        def draw(size: int) -> Tensor:
            return self.scaling.inverse(self.network.sample(size).view(-1, *self.spec.shape))

        return in_chunks(draw, n)

    def sample_or_nan(self, n: int) -> Tensor:
        """As `sample`; NaN from weights that are no numbers any more, where sampling fails."""
        if all(bool(parameter.isfinite().all()) for parameter in self.parameters()):
            return self.sample(n)
        return self.scaling.scale.new_full((n, *self.spec.shape), math.nan)

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        self.fit_together([self], train, validation, budget, [log])

    def fit_together(
        self,
        models: Sequence["ExactDensity"],
        train: Tensor,
        validation: Tensor,
        budget: float,
        logs: Sequence[Log],
    ) -> None:
        steps = scaled_steps(self.steps, budget)
        for model in models:
            model.scaling.fit(train)
        networks = Together([model.network for model in models])
        optimiser = adam(networks.parameters(), self.learning_rate)
        log_volume = self.scaling.scale.log().sum()

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            loss = log_volume - networks(self.scaling(draw()).flatten(2)).mean(dim=1)
            descend(optimiser, loss.sum())
            return {"loss": loss}

        def sample(n: int) -> Tensor:
            networks.write_back()
            return torch.stack([model.sample_or_nan(n) for model in models])

        train_together(
            networks,
            update,
            logs=logs,
            optimisers=[optimiser],
            schedulers=[linear_decay(optimiser, steps, start=0.5)],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            sample=sample,
            ema_decay=self.ema_decay or None,
        )
        networks.write_back()
