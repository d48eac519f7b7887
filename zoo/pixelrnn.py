"""PixelRNN: LSTM layers that run over the rows or the diagonals of an image."""

from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.spec import DataSpec
from zoo.autoregressive import Autoregressive
from zoo.categorical import CategoricalConditionals
from zoo.causal_network import Head, LayeredNetwork, Run
from zoo.layers import image_setting
from zoo.masked_layers import MaskedConv, groups
from zoo.recurrent_layers import DiagonalBiLSTM, RowLSTM

FIRST_KERNEL = (4, 7)  # 7x7 without the three rows below
# How many columns the gates see of the layer before, as far as those are to the left.
KINDS: dict[str, tuple[type[RowLSTM] | type[DiagonalBiLSTM], int]] = {
    "row": (RowLSTM, 3),
    "diagonal": (DiagonalBiLSTM, 1),
}


class PixelRNN(Autoregressive):
    """p(x) = prod_i p(x_i given x_1 .. x_{i-1}) over the sub-pixels of images in raster order.

    Args:
        kind: "diagonal" for the Diagonal BiLSTM, which sees all pixels before; "row" for the Row
            LSTM, which sees a triangle above.
        steps: of training, at budget 1.
        filters: features of each LSTM (h); between layers there are twice as many.
        blocks: LSTM layers.
        ema_decay: of the averaged weights that are kept.

    Source: van den Oord et al. 2016, arXiv:1601.06759, sections 3.1 to 3.4 and table 1; MNIST has
    diagonals, filters=16 and blocks=7 there.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        kind: Literal["row", "diagonal"] = "diagonal",
        steps: int | None = None,
        batch_size: int | None = None,
        filters: int | None = None,
        blocks: int | None = None,
        learning_rate: float | None = None,
        ema_decay: float | None = None,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be {' or '.join(map(repr, KINDS))}, got {kind!r}")
        filters = image_setting(filters, spec, small=32, large=16)
        blocks = image_setting(blocks, spec, small=2, large=7)
        super().__init__(
            spec,
            CategoricalConditionals(spec, RecurrentNetwork(spec, kind, filters, blocks)),
            steps=image_setting(steps, spec, small=1_000, large=10_000),
            batch_size=image_setting(batch_size, spec, small=32, large=16),
            learning_rate=image_setting(learning_rate, spec, small=3e-3, large=1e-3),
            ema_decay=image_setting(ema_decay, spec, small=0.99, large=0.999),
        )


class RecurrentNetwork(LayeredNetwork):
    """LSTM layers, each added to its input.

    A Diagonal BiLSTM needs features that see the whole of their own pixel for its states from
    the right, or the last pixel of a row would stay unseen by the row below. They are counted to
    a channel after the last, so that the masks hide them from everything else.

    Args:
        spec: of images.
        kind: of the LSTM.
        filters: features of its states (h).
        blocks: how many layers.

    Source: figure 5, right.
    """

    def __init__(self, spec: DataSpec, kind: str, filters: int, blocks: int) -> None:
        layer, width = KINDS[kind]
        self.sees_own = layer is DiagonalBiLSTM
        channels = spec.shape[0]
        outer, inner = (groups(features, channels) for features in (2 * filters, filters))
        gates = inner.repeat(4)
        if self.sees_own:
            outer = torch.cat([outer, torch.full((filters,), channels)])
            gates = torch.cat([gates, torch.full((4 * filters,), channels)])
        super().__init__(spec, outer, FIRST_KERNEL, Head(spec, outer, 2 * filters))
        self.gates = nn.ModuleList(MaskedConv(outer, gates, (1, width)) for _ in range(blocks))
        self.recurrent = nn.ModuleList(layer(filters) for _ in range(blocks))
        self.widen = nn.ModuleList(MaskedConv(inner, outer) for _ in range(blocks))
        self.widest = max(self.widest, len(gates))

    def refined(self, found: Tensor, run: Run) -> Tensor:
        for gates, recurrent, widen in zip(self.gates, self.recurrent, self.widen, strict=True):
            found = found + run(widen, run(recurrent, run(gates, found)))
        return found
