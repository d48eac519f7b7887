"""The Wasserstein GAN with a gradient penalty."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from benchmark.spec import DataSpec, Log
from zoo.layers import PushForward, analyser, features, setting
from zoo.train import adam, descend, linear_decay, scaled_steps
from zoo.train import train as run_training


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor
) -> Tensor:
    """E[(|grad D(u)| - 1)^2] at points u drawn evenly from lines between real and generated.

    Args:
        critic: gives [n] scores of [n, *shape], each depending on its own example only (so no
            batch normalisation).
        real: [n, *shape], paired in order with
        generated: [n, *shape].

    Source: Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = torch.lerp(generated.detach(), real, share).requires_grad_()
    with torch.enable_grad():
        scores = critic(between)
    (slopes,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return (slopes.flatten(1).norm(dim=1) - 1).square().mean()


class WGANGP(PushForward):
    """A generator that lowers a critic's estimate of the Wasserstein-1 distance to the data.

    Args:
        critic_steps: critic updates before each generator update.
        penalty: weight of the gradient penalty (lambda in the source).
        steps: generator updates at budget 1.
        latents: dimension of z.
        width: units of a hidden layer, channels of the largest feature map.
        ema_decay: of the averaged weights that samples come from.

    Source: Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        critic_steps: int | None = None,
        penalty: float | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        latents: int | None = None,
        width: int | None = None,
        learning_rate: float | None = None,
        ema_decay: float = 0.999,
    ) -> None:
        latents = setting(latents, spec, points=4, small=32, large=128)
        width = setting(width, spec, points=96, small=32, large=32)
        super().__init__(spec, latents, width)
        self.critic_steps = setting(critic_steps, spec, points=2, small=2, large=5)
        if self.critic_steps < 1:
            raise ValueError(f"critic_steps must be at least 1, got {critic_steps}")
        self.penalty = setting(penalty, spec, points=0.1, small=10.0, large=10.0)
        self.steps = setting(steps, spec, points=4_000, small=900, large=10_000)
        self.batch_size = setting(batch_size, spec, points=256, small=64, large=64)
        self.learning_rate = setting(learning_rate, spec, points=4e-3, small=2e-3, large=2e-4)
        self.ema_decay = ema_decay
        self.critic = nn.Sequential(
            analyser(spec, width, lambda: nn.LeakyReLU(0.2)),
            nn.Linear(features(spec, width), 1),
            nn.Flatten(0),
        )

    def critic_losses(self, real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        """The estimated distance, and what the critic descends on, for scaled [n, *shape]."""
        distance = self.critic(real).mean() - self.critic(generated).mean()
        slope_error = gradient_penalty(self.critic, real, generated)
        return distance, self.penalty * slope_error - distance

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        steps = scaled_steps(self.steps, budget)
        self.scaling.fit(train)
        optimisers = [
            adam(network.parameters(), self.learning_rate, betas=(0.0, 0.9))
            for network in (self.generator, self.critic)
        ]

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            for _ in range(self.critic_steps):
                real = self.scaling.dequantised(draw())
                with torch.no_grad():
                    generated = self.generator(self.latent_batch(len(real)))
                distance, critic = self.critic_losses(real, generated)
                descend(optimisers[1], critic)
            generated = self.generator(self.latent_batch(self.batch_size))
            generator = -self.critic(generated).mean()
            descend(optimisers[0], generator)
            return {"generator": generator, "critic": critic, "distance": distance}

        run_training(
            self,
            update,
            optimisers=optimisers,
            schedulers=[linear_decay(optimiser, steps) for optimiser in optimisers],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            log=log,
            ema_decay=self.ema_decay,
        )
