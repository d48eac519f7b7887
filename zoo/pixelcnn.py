"""PixelCNN: residual blocks of masked convolutions, and a softmax over the levels."""

from torch import Tensor, nn
from torch.nn import functional

from benchmark.spec import DataSpec
from zoo.autoregressive import Autoregressive
from zoo.categorical import CategoricalConditionals
from zoo.causal_network import Head, LayeredNetwork, Run
from zoo.layers import image_setting
from zoo.masked_layers import MaskedConv, groups

FIRST_KERNEL = (4, 7)  # 7x7 without the three rows below
KERNEL = (2, 3)  # 3x3 without the row below


class PixelCNN(Autoregressive):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}) over the sub-pixels of images in raster order.

    Pixels above that lie far to the right are never seen, however many blocks there are: the
    blind spot.

    Args:
        steps: of training, at budget 1.
        filters: features inside a block (h); between blocks there are twice as many.
        blocks: residual blocks.
        ema_decay: of the averaged weights that are kept.

    Source: van den Oord et al. 2016, arXiv:1601.06759, sections 3.3 to 3.5 and table 1; CIFAR-10
    has filters=128 and blocks=15 there.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        filters: int | None = None,
        blocks: int | None = None,
        learning_rate: float | None = None,
        ema_decay: float | None = None,
    ) -> None:
        filters = image_setting(filters, spec, small=32, large=32)
        blocks = image_setting(blocks, spec, small=4, large=7)
        super().__init__(
            spec,
            CategoricalConditionals(spec, ResidualNetwork(spec, filters, blocks)),
            steps=image_setting(steps, spec, small=1_000, large=10_000),
            batch_size=image_setting(batch_size, spec, small=32, large=32),
            learning_rate=image_setting(learning_rate, spec, small=2e-3, large=1e-3),
            ema_decay=image_setting(ema_decay, spec, small=0.99, large=0.999),
        )


class ResidualNetwork(LayeredNetwork):
    """The masked convolutions of PixelCNN."""

    def __init__(self, spec: DataSpec, filters: int, blocks: int) -> None:
        outer, inner = (groups(features, spec.shape[0]) for features in (2 * filters, filters))
        super().__init__(spec, outer, FIRST_KERNEL, Head(spec, outer, 2 * filters))
        self.blocks = nn.ModuleList(ResidualBlock(outer, inner) for _ in range(blocks))

    def refined(self, found: Tensor, run: Run) -> Tensor:
        for block in self.blocks:
            found = block(found, run)
        return found


class ResidualBlock(nn.Module):
    """Adds a function of the features to them, in which a 3x3 convolution sees around.

    Args:
        outer: [2 h], the channel that each feature between blocks belongs to.
        inner: [h], the same inside the block.

    Source: figure 5, left.
    """

    def __init__(self, outer: Tensor, inner: Tensor) -> None:
        super().__init__()
        self.narrow = MaskedConv(outer, inner)
        self.look = MaskedConv(inner, inner, KERNEL)
        self.widen = MaskedConv(inner, outer, gain=0.1)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        hidden = functional.relu(run(self.narrow, functional.relu(x)))
        hidden = functional.relu(run(self.look, hidden))
        return x + run(self.widen, hidden)
