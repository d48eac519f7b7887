"""A softmax over the levels of every sub-pixel, the channels of a pixel in turn."""

from functools import partial

import torch
from torch import Tensor

from benchmark.spec import DataSpec
from zoo.autoregressive import Conditionals
from zoo.causal_network import CausalNetwork, Walk
from zoo.recorded import Recorded


class CategoricalConditionals(Conditionals):
    """p(level of a sub-pixel given those before it), any distribution over the levels.

    Args:
        spec: of images.
        network: gives the logits, channels * levels of them at each pixel.

    Source: van den Oord et al. 2016, arXiv:1601.06759, section 2.2.
    """

    def __init__(self, spec: DataSpec, network: CausalNetwork) -> None:
        super().__init__()
        assert spec.levels is not None
        self.levels, self.turns = spec.levels, spec.shape[0]
        self.noise_shape = spec.shape
        self.network = network
        self.widest, self.cached = network.widest, network.cached

    def outputs(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        """Logits [n, channels * levels, H, W] of scaled images [n, channels, H, W]."""
        return self.network(scaled, labels)

    def log_prob(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        level = ((scaled.detach() + 1) * (self.levels / 2) - 0.5).round().long()
        log_masses = self._log_masses(self.outputs(scaled, labels))
        return log_masses.gather(2, level.unsqueeze(2)).sum(dim=(1, 2))

    def _log_masses(self, outputs: Tensor) -> Tensor:
        """Logits [n, channels * levels, ...] -> [n, channels, levels, ...]."""
        # Half precision would move masses: the network may compute in it, the likelihood may not.
        logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        return logits.unflatten(1, (self.turns, self.levels)).log_softmax(dim=2)

    def pixel(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Scaled pixels [n, channels] from logits [n, channels * levels], a number for each."""
        below = self._log_masses(outputs).exp().cumsum(dim=2)[:, :, :-1]
        level = (uniform.unsqueeze(2) >= below).sum(dim=2)
        return (2 * level + 1) / self.levels - 1

    def draw(self, uniform: Tensor, known: Tensor, rows: int, labels: Tensor | None) -> Tensor:
        """As `Conditionals.draw`.

        Source: Ramachandran et al. 2017, arXiv:1704.06001 (what is kept between pixels).
        """
        x = known.clone()
        walk = self.network.walk(len(x), labels)
        recorded = Recorded(x.device)
        pixels, noise = x[:, :, 0].clone(), uniform[:, :, 0].clone()  # those of any row

        def run_row(is_drawn: bool) -> None:
            walk.next_row()
            for column in range(x.shape[3]):
                pixel = pixels[:, :, column]
                if is_drawn:
                    self._draw_pixel(walk, column, pixel, noise[:, :, column])
                else:
                    walk.see(column, pixel)
                    walk.at(column)

        for row in range(x.shape[2]):
            pixels.copy_(x[:, :, row])
            noise.copy_(uniform[:, :, row])
            recorded(row >= rows, partial(run_row, row >= rows))
            x[:, :, row] = pixels
        return x

    def _draw_pixel(self, walk: Walk, column: int, pixel: Tensor, uniform: Tensor) -> None:
        """Fills scaled pixels [n, channels], a channel after the other."""
        for channel in range(self.turns):
            pixel[:, channel] = self.pixel(walk.at(column), uniform)[:, channel]
            walk.see(column, pixel)
        if self.network.sees_own:
            walk.at(column)
