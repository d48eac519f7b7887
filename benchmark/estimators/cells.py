"""What a decoder with normal noise makes of cells, segments or triangles of latents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from benchmark.estimators.latents import StandardLatents
from benchmark.estimators.simplices import RULES, Rule, halved
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
    """Mean and scale of x at latents that are N(0, I); log p(x, z) has `constant` in it.

    Args:
        model: gives them.
        least: the lowest precision that images may be held in. They are in the model's own if that
            is higher: no more is in them.
    """

    def __init__(self, model: LatentModel, least: torch.dtype = torch.float32) -> None:
        self.latents = StandardLatents(model)
        self.dims = self.latents.latents
        if self.dims > max(RULES):
            raise ValueError(
                f"the model has {self.dims} latents: only up to {max(RULES)} are integrated over"
            )
        origin = torch.zeros(1, self.dims, device=self.latents.device)
        own = self._noise(origin).loc.dtype
        self.dtype = torch.promote_types(torch.promote_types(own, least), torch.float32)
        loc, _ = self(origin)
        self.constant = -(self.dims + len(loc)) * HALF_LOG_2_PI

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """[d, m] mean and log standard deviation, float64, at u [m, latents]."""
        parts = [self._of(part) for part in u.split(AT_ONCE[u.device.type])]
        return torch.cat([loc for loc, _ in parts], 1), torch.cat([scale for _, scale in parts], 1)

    def _noise(self, u: Tensor) -> Normal:
        noise = self.latents.decode(u)
        while isinstance(noise, Independent):
            noise = noise.base_dist
        if type(noise) is not Normal:
            raise ValueError(f"p(x given z) is {type(noise).__name__}: it must be normal")
        return noise

    def _of(self, u: Tensor) -> tuple[Tensor, Tensor]:
        noise = self._noise(u)
        loc, scale = noise.loc.flatten(1).double(), noise.scale.flatten(1).double()
        loc, log_scale = (
            each.T.contiguous() for each in torch.broadcast_tensors(loc, scale.log())
        )
        lost = ~(loc.isfinite() & log_scale.isfinite()).all(dim=0)
        if bool((lost & (u.abs().amax(dim=1) <= CERTAIN)).any()):
            raise ValueError("decode(z) gives values that are no numbers")
        return loc.masked_fill_(lost, LOST), log_scale.masked_fill_(lost, 0.0)


@dataclass(frozen=True)
class Places:
    """What is decoded at m places of c cells, in the decoder's precision.

    Args:
        log_height: [c, m] log p(x, z) of an x at the mean of p(x given z).
        loc: [d, c, m] that mean, and
        precision: [d, c, m] one over its standard deviation.
    """

    log_height: Tensor
    loc: Tensor
    precision: Tensor

    @cached_property
    def common(self) -> list[float] | None:
        """[d] precision along each coordinate, if it is the same at all places."""
        if not self.precision.numel():
            return None
        low, high = self.precision.flatten(1).aminmax(dim=1)
        return low.tolist() if torch.equal(low, high) else None

    @classmethod
    def joined(cls, parts: Sequence["Places"]) -> "Places":
        """Those of all cells, one part after the other."""
        columns = zip(*((p.log_height, p.loc, p.precision) for p in parts), strict=True)
        return cls(*(torch.cat(column, dim=-2) for column in columns))

    def of(self, chosen: Tensor) -> "Places":
        """Those of the chosen cells alone."""
        every = (self.log_height, self.loc, self.precision)
        return Places(*(each.index_select(-2, chosen) for each in every))

    def halved(self, chosen: Tensor, new: "Places", source: Tensor) -> "Places":
        """Those of halves [2 h] of the chosen cells [h], at `source` [h, 2, m] among all of them.

        Args:
            chosen: which cells are halved.
            new: what is decoded at places that the halves have and the cells have not.
            source: where they are among the places of the whole followed by the new ones.
        """

        def picked(whole: Tensor, more: Tensor) -> Tensor:
            every = torch.cat([whole, more], dim=-1)
            index = source.flatten(1).expand(*every.shape[:-1], -1)
            return torch.cat(every.gather(-1, index).chunk(2, dim=-1), dim=-2)

        mine = self.of(chosen)
        return Places(
            picked(mine.log_height, new.log_height),
            picked(mine.loc, new.loc),
            picked(mine.precision, new.precision),
        )


class Cells:
    """Simplices of latents, what is decoded at their probes, and bounds of it.

    Where cells lie takes float64, for they become small; bounds have the decoder's precision.

    Args:
        vertices: [c, latents + 1, latents], float64.
        finer: what lengths of cells that probes are trusted in are multiplied by.
        probes: what is decoded there, if that is known.
    """

    def __init__(
        self,
        decoder: Decoder,
        rule: Rule,
        vertices: Tensor,
        finer: float,
        probes: Places | None = None,
    ) -> None:
        self.decoder, self.rule, self.vertices, self.finer = decoder, rule, vertices, finer
        self.probes = probes or self._decoded(vertices, vertices.new_tensor(rule.probes))
        self.low, self.high = _reached(self.probes.loc)
        log_coarsest, log_finest = (-each for each in _reached(self.probes.precision.log()))
        self.finest, self.coarsest = log_finest.exp(), log_coarsest.exp()
        reach = (self.high - self.low) / self.finest
        extent = reach.square().sum(dim=0)
        self.wide = extent.masked_fill(reach.amax(dim=0) <= WIDE, 0.0)
        below, above = vertices.aminmax(dim=1)
        nearest = torch.maximum(below, -above).clamp(min=0).T.square().sum(dim=0)
        sides = [(vertices[:, i] - vertices[:, j]).T for i, j in rule.edges]
        lengths = torch.stack([side.square().sum(dim=0).sqrt() for side in sides], dim=1)
        if decoder.dims == 1:
            size = lengths[:, 0]
        else:
            size = 0.5 * (sides[0][0] * sides[1][1] - sides[0][1] * sides[1][0]).abs()
        self.lengths = lengths.to(decoder.dtype)
        self.log_size = size.log().to(decoder.dtype)
        volume = log_finest.sum(dim=0) - self.log_size
        self.log_most = decoder.constant - 0.5 * nearest.to(decoder.dtype) - volume
        image = self.probes.loc / self.finest.unsqueeze(2)
        ends = [image[:, :, i] - image[:, :, j] for i, j in rule.edges]
        self.stretch = 0.5 * torch.stack([each.square().sum(dim=0) for each in ends], dim=1)
        self.shape = self.lengths / self.lengths.amax(dim=1, keepdim=True)
        self.stretch += LENGTHWISE * extent.unsqueeze(1) * self.shape
        longest, away = self.lengths.amax(dim=1), vertices.mean(dim=1).norm(dim=1)
        self.unseen = longest > finer * (COARSER * away).clamp(min=FINE)
        self.spent = longest < NARROWEST * away.clamp(min=1.0)

    def nodes(self, chosen: Tensor) -> Places:
        """What is decoded at the nodes of the chosen cells [c]: integrals are taken from them."""
        return self._decoded(self.vertices[chosen], self.vertices.new_tensor(self.rule.nodes))

    def halved(self, chosen: Tensor, edge: Tensor) -> "Cells":
        """[2 h] first and then second halves of the chosen cells [h], cut across an edge [h].

        Halves share most of their probes with the whole, which are not decoded again.
        """
        vertices = self.vertices[chosen]
        places, source = self.rule.halving
        new = self._decoded(vertices, vertices.new_tensor(places)[edge])
        probes = self.probes.halved(chosen, new, torch.tensor(source, device=edge.device)[edge])
        halves = halved(vertices, edge, self.rule.edges)
        return Cells(self.decoder, self.rule, halves, self.finer, probes)

    def _decoded(self, vertices: Tensor, places: Tensor) -> Places:
        """What is decoded at barycentric `places`, [m, vertices], or [c, m, vertices] of each."""
        u = places @ vertices
        loc, log_scale = (each.unflatten(1, u.shape[:2]) for each in self.decoder(u.flatten(0, 1)))
        squares = u.permute(2, 0, 1).square().sum(dim=0)
        log_height = self.decoder.constant - 0.5 * squares - log_scale.sum(dim=0)
        decoded = (log_height, loc, (-log_scale).exp())
        return Places(*(each.to(self.decoder.dtype) for each in decoded))

    def at(self, cell: Tensor, x_low: Tensor, x_high: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds for cells [p] and x anywhere in boxes from `x_low` to `x_high` [p, d].

        Returns:
            [p] log of what the integral can be at most, by where the cell's image lies, and
            whether its probes can step over x.
        """
        squares = torch.zeros(len(cell), dtype=x_low.dtype, device=cell.device)
        common = self.probes.common
        distance = squares if common else squares.clone()  # in the finest noise of each cell
        for k in range(x_low.shape[1]):
            below = self.low[k].index_select(0, cell).sub_(x_high[:, k])
            above = x_low[:, k] - self.high[k].index_select(0, cell)
            away = torch.maximum(below, above).clamp_(min=0)
            if common:
                squares.addcmul_(away, away, value=common[k] ** 2)
            else:
                distance += (away / self.finest[k].index_select(0, cell)).square_()
                squares += away.div_(self.coarsest[k].index_select(0, cell)).square_()
        most = self.log_most.index_select(0, cell).sub_(squares, alpha=0.5)
        return most, distance < self.wide.index_select(0, cell)


def _reached(values: Tensor) -> tuple[Tensor, Tensor]:
    """[d, c] bounds of what has `values` [d, c, probes] at the probes."""
    low, high = values.aminmax(dim=2)
    middle, radius = (low + high) / 2, REACH * (high - low) / 2
    return middle - radius, middle + radius
