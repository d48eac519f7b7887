"""The Wasserstein GAN with a gradient penalty."""

from benchmark.spec import DataSpec
from zoo.gan import GAN
from zoo.layers import setting


class WGANGP(GAN):
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
        super().__init__(
            spec,
            loss="wasserstein",
            penalty="two_sided",
            penalty_weight=penalty,
            critic_steps=setting(critic_steps, spec, points=2, small=2, large=5),
            steps=setting(steps, spec, points=3_500, small=800, large=10_000),
            batch_size=setting(batch_size, spec, points=256, small=64, large=64),
            latents=latents,
            width=setting(width, spec, points=96, small=32, large=32),
            learning_rate=setting(learning_rate, spec, points=4e-3, small=2e-3, large=2e-4),
            betas=(0.0, 0.9),
            decay_start=0.0,
            dropout=0.0,
            ema_decay=ema_decay,
        )
