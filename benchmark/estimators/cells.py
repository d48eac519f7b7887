"""What a decoder with normal noise makes of cells, segments or triangles of latents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from benchmark.estimators.latents import StandardLatents
from benchmark.estimators.simplices import RULES, Rule
from benchmark.spec import LatentModel

REACH = 1.5  # how far a cell's image is taken to go, beside how far that of its probes goes
FINE = 0.125  # length of edges up to which probes are trusted to show what a network does
COARSER = 1 / 12  # and by which share of the distance from the prior's centre they may be longer
WIDE = 4.0  # standard deviations of noise: probes of a larger image can step over an x
LENGTHWISE = 0.1  # of what varies in a cell, put down to its edges by their lengths
NARROWEST = 1e-5  # length of edges relative to where they lie, near single precision
CERTAIN = 6.0  # up to here, along each axis, latents have images that are numbers
AT_ONCE = {"cpu": 4_000, "cuda": 200_000}  # latents decoded at once: they fit a processor's cache
LOST = 1e12  # where x is taken to be from latents far out whose image overflows
HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


class Decoder:
    """Mean and scale of x at latents that are N(0, I); log p(x, z) has `constant` in it."""

    def __init__(self, model: LatentModel) -> None:
        self.latents = StandardLatents(model)
        self.dims = self.latents.latents
        if self.dims > max(RULES):
            raise ValueError(
                f"the model has {self.dims} latents: only up to {max(RULES)} are integrated over"
            )
        loc, _ = self(torch.zeros(1, self.dims, device=self.latents.device))
        self.constant = -(self.dims + loc.shape[1]) * HALF_LOG_2_PI

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """[m, d] mean and log standard deviation, float64, at u [m, latents]."""
        parts = [self._of(part) for part in u.split(AT_ONCE[u.device.type])]
        return torch.cat([loc for loc, _ in parts]), torch.cat([scale for _, scale in parts])

    def _of(self, u: Tensor) -> tuple[Tensor, Tensor]:
        noise = self.latents.decode(u)
        while isinstance(noise, Independent):
            noise = noise.base_dist
        if type(noise) is not Normal:
            raise ValueError(f"p(x given z) is {type(noise).__name__}: it must be normal")
        loc, scale = noise.loc.flatten(1).double(), noise.scale.flatten(1).double()
        loc, log_scale = torch.broadcast_tensors(loc, scale.log())
        lost = ~(loc.isfinite() & log_scale.isfinite()).all(dim=1)
        if bool((lost & (u.abs().amax(dim=1) <= CERTAIN)).any()):
            raise ValueError("decode(z) gives values that are no numbers")
        return (
            loc.masked_fill(lost.unsqueeze(1), LOST),
            log_scale.masked_fill(lost.unsqueeze(1), 0.0),
        )


@dataclass(frozen=True)
class Places:
    """What is decoded at m places of c cells.

    Args:
        log_height: [c, m] log p(x, z) of an x at the mean of p(x given z).
        loc: [d, c, m] that mean, and
        precision: [d, c, m] one over its standard deviation.
    """

    log_height: Tensor
    loc: Tensor
    precision: Tensor


class Cells:
    """Simplices of latents, what is decoded at their probes, and bounds of it.

    Args:
        vertices: [c, latents + 1, latents].
        finer: what lengths of cells that probes are trusted in are multiplied by.
    """

    def __init__(self, decoder: Decoder, rule: Rule, vertices: Tensor, finer: float) -> None:
        self.decoder, self.rule, self.vertices = decoder, rule, vertices
        dims = decoder.dims
        self.probes, loc, log_scale = self._decoded(vertices, rule.probes)
        low, high = _reached(loc)
        log_finest, log_coarsest = _reached(log_scale)
        finest = log_finest.exp()
        self.low, self.high = low.T.contiguous(), high.T.contiguous()
        self.finest, self.coarsest = finest.T.contiguous(), log_coarsest.exp().T.contiguous()
        reach = (high - low) / finest
        extent = reach.square().sum(dim=1)
        self.wide = extent.masked_fill(reach.amax(dim=1) <= WIDE, 0.0)
        below, above = vertices.aminmax(dim=1)
        nearest = torch.maximum(below, -above).clamp(min=0).square().sum(dim=1)
        sides = torch.stack([vertices[:, i] - vertices[:, j] for i, j in rule.edges], dim=1)
        self.lengths = sides.norm(dim=2)
        size = self.lengths[:, 0] if dims == 1 else 0.5 * torch.linalg.det(sides[:, :2]).abs()
        self.log_size = size.log()
        self.log_most = decoder.constant - 0.5 * nearest - log_finest.sum(dim=1) + self.log_size
        image = loc / finest.unsqueeze(1)
        ends = [image[:, i] - image[:, j] for i, j in rule.edges]
        self.stretch = 0.5 * torch.stack([each.square().sum(dim=1) for each in ends], dim=1)
        self.shape = self.lengths / self.lengths.amax(dim=1, keepdim=True)
        self.stretch += LENGTHWISE * extent.unsqueeze(1) * self.shape
        longest, away = self.lengths.amax(dim=1), vertices.mean(dim=1).norm(dim=1)
        self.unseen = longest > finer * (COARSER * away).clamp(min=FINE)
        self.spent = longest < NARROWEST * away.clamp(min=1.0)

    def nodes(self, chosen: Tensor) -> Places:
        """What is decoded at the nodes of the chosen cells [c]: integrals are taken from them."""
        return self._decoded(self.vertices[chosen], self.rule.nodes)[0]

    def _decoded(
        self, vertices: Tensor, places: Sequence[Sequence[float]]
    ) -> tuple[Places, Tensor, Tensor]:
        """The places, and mean and log standard deviation [c, m, d] there."""
        shares = torch.tensor(places, dtype=vertices.dtype, device=vertices.device)
        u = shares @ vertices
        decoded = self.decoder(u.flatten(0, 1))
        loc, log_scale = (each.unflatten(0, u.shape[:2]) for each in decoded)
        log_height = self.decoder.constant - 0.5 * u.square().sum(dim=2) - log_scale.sum(dim=2)
        precision = (-log_scale).exp().permute(2, 0, 1).contiguous()
        found = Places(log_height, loc.permute(2, 0, 1).contiguous(), precision)
        return found, loc, log_scale

    def at(self, cell: Tensor, x_low: Tensor, x_high: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds for cells [p] and x anywhere in boxes from `x_low` to `x_high` [p, d].

        Returns:
            [p] log of what the integral can be at most, by where the cell's image lies, and
            whether its probes can step over x.
        """
        squares = torch.zeros(len(cell), dtype=x_low.dtype, device=cell.device)
        distance = squares.clone()
        for k in range(x_low.shape[1]):
            below = self.low[k].index_select(0, cell).sub_(x_high[:, k])
            above = (x_low[:, k] - self.high[k].index_select(0, cell)).clamp_(min=0)
            away = torch.maximum(below, above)
            distance += (away / self.finest[k].index_select(0, cell)).square_()
            squares += away.div_(self.coarsest[k].index_select(0, cell)).square_()
        most = self.log_most.index_select(0, cell).sub_(squares, alpha=0.5)
        return most, distance < self.wide.index_select(0, cell)


def _reached(values: Tensor) -> tuple[Tensor, Tensor]:
    """[c, d] bounds of what has `values` [c, probes, d] at the probes."""
    low, high = values.aminmax(dim=1)
    middle, radius = (low + high) / 2, REACH * (high - low) / 2
    return middle - radius, middle + radius
