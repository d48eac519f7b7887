"""The MMD-GAN: moment matching under a kernel of features that an adversary learns."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmark.spec import DataSpec, Log
from zoo.layers import PushForward, analyser, features, setting
from zoo.penalties import gradient_penalty
from zoo.together import Together
from zoo.train import adam, descend, linear_decay, scaled_steps, train_together

FEATURES = 16  # that the critic learns, as in the source
SQUARED_LENGTHS = (0.002, 0.02, 0.2, 2.0)  # of scaled data: modes are narrow and far apart


Critic = Callable[[Tensor], Tensor]  # [S, n, *shape] -> features [S, n, d]


def rational_quadratic(x: Tensor, y: Tensor) -> Tensor:
    """The mean of 1 / (1 + |x - y|^2 / (2 b)) over the squared lengths b.

    Ours: the source mixes exponents at one length, and modes here are narrow and far apart.

    Args:
        x: [..., n, d].
        y: [..., m, d].

    Returns:
        [..., n, m], between 0 and 1.

    Source: Binkowski et al. 2018, arXiv:1801.01401, section 2.1.
    """
    # Kernels of close examples differ by less than half precision can tell.
    with torch.autocast(x.device.type, enabled=False):
        x, y = (part.float() if part.dtype == torch.bfloat16 else part for part in (x, y))
        centre = x.detach().mean(dim=-2, keepdim=True)  # inner products lose digits far from 0
        x, y = x - centre, y - centre
        squares = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :]
        squares = (squares - 2 * x @ y.mT).clamp(min=0)
        kernels = [torch.reciprocal(1 + squares / (2 * b)) for b in SQUARED_LENGTHS]
        return torch.stack(kernels).mean(dim=0)


def unbiased_squared_mmd(real: Tensor, generated: Tensor) -> Tensor:
    """Squared maximum mean discrepancy without the pairs of an example with itself.

    Args:
        real: [..., n, d], n >= 2.
        generated: [..., m, d], m >= 2.

    Returns:
        [...]; negative for sets that are closer than two draws of one distribution.

    Source: Gretton et al. 2012, JMLR 13, lemma 6.
    """
    across = rational_quadratic(real, generated).mean(dim=(-2, -1))
    return _mean_of_pairs(real) + _mean_of_pairs(generated) - 2 * across


def witness(features_at: Tensor, *, real: Tensor, generated: Tensor) -> Tensor:
    """E[k(., real)] - E[k(., generated)] at features [..., m, d]: gives [..., m].

    Source: Binkowski et al. 2018, eq. 3.
    """
    towards = rational_quadratic(real, features_at).mean(dim=-2)
    return towards - rational_quadratic(generated, features_at).mean(dim=-2)


def _mean_of_pairs(x: Tensor) -> Tensor:
    n = x.shape[-2]
    # The kernel of an example with itself is 1.
    return (rational_quadratic(x, x).sum(dim=(-2, -1)) - n) / (n * (n - 1))


class Embedding(nn.Module):
    """Learnt features of scaled examples [n, *shape]; of points, beside the points themselves.

    The map must be injective for a discrepancy of 0 to mean equal distributions. The source asks
    for that by a decoder; in few dimensions it is enough to keep the point.
    """

    def __init__(self, spec: DataSpec, width: int) -> None:
        super().__init__()
        self.keeps_points = not spec.is_image
        self.network = nn.Sequential(
            analyser(spec, width, lambda: nn.LeakyReLU(0.2)),
            nn.Linear(features(spec, width), FEATURES),
        )

    def forward(self, scaled: Tensor) -> Tensor:
        learnt = self.network(scaled)
        if not self.keeps_points:
            return learnt
        return torch.cat([scaled.flatten(1), learnt], dim=1)


class MMDGAN(PushForward):
    """A generator that descends on the MMD of features, a critic that ascends on it.

    Args:
        critic_steps: critic updates before each generator update.
        penalty: weight of the penalty on the witness function's slope.
        steps: generator updates at budget 1.
        latents: dimension of z.
        width: units of a hidden layer, channels of the largest feature map.
        ema_decay: of the averaged weights that samples come from, 0 for none.

    Source: Li et al. 2017, arXiv:1705.08584, eq. 3; kernel and penalty of Binkowski et al. 2018,
    arXiv:1801.01401, sections 2.1 and 3.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        critic_steps: int = 1,
        penalty: float = 1.0,
        steps: int | None = None,
        batch_size: int | None = None,
        latents: int | None = None,
        width: int | None = None,
        learning_rate: float | None = None,
        ema_decay: float = 0.999,
    ) -> None:
        if critic_steps < 1:
            raise ValueError(f"critic_steps must be at least 1, got {critic_steps}")
        latents = setting(latents, spec, points=4, small=32, large=128)
        width = setting(width, spec, points=128, small=32, large=32)
        super().__init__(spec, latents, width)
        self.critic_steps, self.penalty = critic_steps, penalty
        self.steps = setting(steps, spec, points=4_000, small=1_500, large=20_000)
        self.batch_size = setting(batch_size, spec, points=128, small=64, large=64)
        self.learning_rate = setting(learning_rate, spec, points=1e-3, small=5e-4, large=1e-4)
        self.ema_decay = ema_decay
        self.critic = Embedding(spec, width)

    def fit(self, train: Tensor, validation: Tensor, budget: float, log: Log) -> None:
        self.fit_together([self], train, validation, budget, [log])

    def fit_together(
        self,
        models: Sequence["MMDGAN"],
        train: Tensor,
        validation: Tensor,
        budget: float,
        logs: Sequence[Log],
    ) -> None:
        steps = scaled_steps(self.steps, budget)
        for model in models:
            model.scaling.fit(train)
        generators = Together([model.generator for model in models])
        critics = Together([model.critic for model in models])
        optimisers = [
            adam(network.parameters(), self.learning_rate, betas=(0.0, 0.9))
            for network in (generators, critics)
        ]

        def generate(n: int) -> Tensor:
            return generators(torch.randn(len(models), n, self.latents, device=train.device))

        def update(draw: Callable[[], Tensor]) -> Mapping[str, Tensor]:
            for _ in range(self.critic_steps):
                real = self.scaling.dequantised(draw())
                with torch.no_grad():
                    generated = generate(self.batch_size)
                critic = self.critic_loss(critics, real, generated)
                descend(optimisers[1], critic.sum())
            real = self.scaling.dequantised(draw())
            generator = discrepancy(critics, real, generate(self.batch_size))
            descend(optimisers[0], generator.sum())
            return {"generator": generator, "critic": critic}

        train_together(
            nn.ModuleList([generators, critics]),
            update,
            logs=logs,
            optimisers=optimisers,
            schedulers=[linear_decay(optimiser, steps) for optimiser in optimisers],
            data=train,
            steps=steps,
            batch_size=self.batch_size,
            sample=lambda n: self.scaling.inverse(generate(n).float()),
            ema_decay=self.ema_decay or None,
        )
        for networks in (generators, critics):
            networks.write_back()

    def critic_loss(self, critics: Critic, real: Tensor, generated: Tensor) -> Tensor:
        """Minus the discrepancy, and the weighted penalty: [S] for scaled [S, n, *shape]."""
        features_of_real, features_of_generated = critics(real), critics(generated)

        def scores(points: Tensor) -> Tensor:
            return witness(critics(points), real=features_of_real, generated=features_of_generated)

        slope_error = gradient_penalty(scores, real, generated)
        gap = unbiased_squared_mmd(features_of_real, features_of_generated)
        return self.penalty * slope_error - gap


def discrepancy(critics: Critic, real: Tensor, generated: Tensor) -> Tensor:
    """The squared MMD of features, [S] for scaled examples [S, n, *shape]."""
    return unbiased_squared_mmd(critics(real), critics(generated))
