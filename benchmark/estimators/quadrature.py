"""log p(x) by integration over the latents, where these are one or two and the noise is normal.

Where a generator has so few latents nothing needs to be estimated: the integral of p(x given z)
p(z) is taken over segments or triangles of z that are halved, for each x, until what their rule
can miss is a negligible part of the whole. Posteriors that fall apart into islands, or lie far
out in the prior's tail because x belongs to a mode that the generator lacks, cost time and no
accuracy.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.estimators.cells import CERTAIN, LENGTHWISE, Cells, Decoder, Places
from benchmark.estimators.simplices import RULES
from benchmark.spec import LatentModel

TOLERANCE = 3e-5  # share of p(x) that the rule may miss in one cell
NEGLIGIBLE = 1e-5  # share of p(x) that a cell must be able to hold to be looked at
ROUGH = 0.1  # share that the rule may miss where an integral is of the right size
HIDDEN = 20.0  # nats that an integral may lie below the highest log density seen
TOGETHER = 32  # x of a group that cells are first compared with
GRID = 65  # points along each axis where the log density is looked at first
CENTRAL = 3.0  # distance from the prior's centre within which it has almost all its mass
BROAD = 20.0  # standard deviations of noise that images must span for the finest first cells
COARSEST = 4.0  # how much longer the first cells may be where images span fewer
MOST_PAIRS, FEW = 30_000, 100  # cells looked at for each x, as if there were FEW at least
MOST_HALVINGS = 200  # one after the other; some 40 make cells as narrow as they can be
AT_ONCE = {
    "cpu": 40_000,
    "cuda": 1_000_000,
}  # pairs of a cell and an x that are looked at together


@dataclass(frozen=True)
class Integral:
    """What was found.

    Args:
        log_prob: [n] log p(x), nats, float64.
        error: [n] an estimate from above of its error, nats.
        cells: how many cells of latents were decoded.
        pairs: how many pairs of a cell and an x were looked at.
    """

    log_prob: Tensor
    error: Tensor
    cells: int
    pairs: int


class TooIntricate(ValueError):
    """The decoder bends too often for its integral to be taken in reasonable time."""


def integrate(
    model: LatentModel,
    x: Tensor,
    progress: Callable[[int, int], None] = lambda *_: None,
    finer: float = 1.0,
) -> Integral:
    """Log p(x) of a model with one or two latents and normal noise, by adaptive quadrature.

    Each cell, a segment or a triangle of latents, has a rule of degree 5. The images of its
    corners and of the middles of its edges bound, with a margin, where the decoder takes the cell,
    and hence how large the integrand can be in it; how much the integrand's logarithm varies and
    bends among them tells what the rule can miss. A cell is halved across the edge of largest
    variation, for those x alone of whose integral more than TOLERANCE could be missed there. Cells
    that can hold no more than that are worth no nodes: the mean over corners and middles does.

    Args:
        model: with a prior of one or two independent latents, and normal coordinates around what
            it decodes.
        x: [n, *shape] points.
        progress: is told of how many x the integral has been taken, and n.
        finer: size of the first cells, beside the usual: below 1 less can hide inside.

    Raises:
        ValueError: the model is not of that kind, or what it decodes is no number where the prior
            has its mass.
        TooIntricate: it would take more than MOST_PAIRS cells for each x, or MOST_HALVINGS.

    Source: the rule is Radon's of seven nodes (Stroud 1971, "Approximate calculation of multiple
    integrals", T2: 5-1), on segments Gauss and Legendre's of three; cells are halved as by Rivara
    1984, "Algorithms for refining triangular grids suitable for adaptive and multigrid
    techniques", with lengths taken in nats.
    """
    with torch.no_grad():
        return _Adaptive(model, x, finer).run(progress)


def can_integrate(model: LatentModel) -> bool:
    """Whether `integrate` takes the model."""
    try:
        with torch.no_grad():
            Decoder(model)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a cell and an x, whose integral may matter.

    Args:
        cell, index: [p] of which cell, and which x.
        most: [p] log of what the integral can be at most, by where the cell's image lies.
        hides: [p] whether the cell's probes can step over x.
    """

    cell: Tensor
    index: Tensor
    most: Tensor
    hides: Tensor

    def __len__(self) -> int:
        return len(self.cell)

    def parts(self) -> Iterator["_Pairs"]:
        """As many at once as memory near the processor holds."""
        whole = (self.cell, self.index, self.most, self.hides)
        return map(_Pairs, *(each.split(AT_ONCE[each.device.type]) for each in whole))

    @classmethod
    def joined(cls, parts: Sequence["_Pairs"]) -> "_Pairs":
        columns = zip(*((p.cell, p.index, p.most, p.hides) for p in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))


@dataclass(frozen=True)
class _Look:
    """What is known of pairs of a cell and an x.

    Args:
        rough: [p] log of the integral, roughly.
        most: [p] log of what the integral can be at most.
        miss: [p] log of what the rule can miss.
        trusted: [p] whether the rough integral is of the right size.
        peak: [p] highest log density at a probe.
        variation: [p, edges] of the log density along each edge, nats.
    """

    rough: Tensor
    most: Tensor
    miss: Tensor
    trusted: Tensor
    peak: Tensor
    variation: Tensor


class _Adaptive:
    def __init__(self, model: LatentModel, x: Tensor, finer: float) -> None:
        self.finer = finer
        self.decoder = Decoder(model, x.dtype)
        self.rule = RULES[self.decoder.dims]
        self.x = x.flatten(1).to(self.decoder.dtype)
        self.columns = self.x.T.contiguous()
        # Sums are taken in float64; what is summed has the precision of the decoder and of x.
        nothing = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        self.peak, self.least = nothing, nothing.clone()
        self.total, self.missed = nothing.clone(), nothing.clone()
        self.cells = self.pairs = 0

    def run(self, progress: Callable[[int, int], None]) -> Integral:
        n = len(self.x)
        root = self._root()
        cells = self._seen(Cells(self.decoder, self.rule, root, self.finer))
        pairs = self._near(cells)
        rounds = 0
        while len(pairs):
            rounds, self.pairs = rounds + 1, self.pairs + len(pairs)
            if rounds > MOST_HALVINGS or self.pairs > MOST_PAIRS * max(n, FEW):
                raise TooIntricate(
                    f"log p(x) would take more than {MOST_PAIRS:,} cells of latents an x or "
                    f"{MOST_HALVINGS} halvings: the decoder bends too often beside its noise"
                )
            still, variation = self._settled(cells, pairs)
            cell, index = _picked(still, pairs.cell, pairs.index)
            if not len(cell):
                break
            progress(n - len(_renumbered(index, n)[0]), n)
            chosen, cell = _renumbered(cell, len(cells.log_size))
            cells = cells.halved(chosen, self._edges(cells, chosen, cell, variation))
            self.cells += len(cells.log_size)
            pairs = self._matter(cells, torch.cat([cell, cell + len(chosen)]), index.repeat(2))
        return Integral(self.total, (self.missed - self.total).exp(), self.cells, self.pairs)

    def _root(self) -> Tensor:
        """Simplices out to where the prior rules everything out, after a first look inside."""
        device, dims = self.x.device, self.decoder.dims
        line = torch.linspace(-CERTAIN, CERTAIN, GRID, dtype=torch.float64, device=device)
        u = torch.cartesian_prod(*[line] * dims).view(-1, dims)
        loc, log_scale = self.decoder(u)
        central = u.norm(dim=1) <= CENTRAL
        low, high = loc[:, central].aminmax(dim=1)
        span = ((high - low) / log_scale[:, central].amin(dim=1).exp()).amax()
        self.finer *= (BROAD / span).clamp(1.0, COARSEST).item()
        height = self.decoder.constant - 0.5 * u.square().sum(dim=1) - log_scale.sum(dim=0)
        rows = max(1, AT_ONCE[device.type] // len(u))
        precision = (-log_scale).exp()
        squares = [
            sum(((x[:, k : k + 1] - loc[k]) * precision[k]).square() for k in range(len(loc)))
            for x in self.x.split(rows)
        ]
        self.peak = torch.cat([(height - 0.5 * each).amax(dim=1) for each in squares])
        needed = height.max() - self.peak.min() + HIDDEN - math.log(NEGLIGIBLE)
        edge = math.sqrt(2 * needed.item()) + CERTAIN
        if dims == 1:
            vertices = [[[-edge], [edge]]]
        else:
            corners = [[-edge, -edge], [edge, -edge], [edge, edge], [-edge, edge]]
            vertices = [corners[:3], [corners[2], corners[3], corners[0]]]
        return torch.tensor(vertices, dtype=torch.float64, device=device)

    def _seen(self, cells: Cells) -> Cells:
        """Cells so fine that their probes show what the decoder does, wherever it can matter."""
        floor = self._floor().min()
        vertices, probes = [], []
        while True:
            self.cells += len(cells.log_size)
            matter = cells.log_most > floor
            kept = (matter & ~cells.unseen).nonzero().squeeze(1)
            vertices.append(cells.vertices[kept])
            probes.append(cells.probes.of(kept))
            split = (matter & cells.unseen).nonzero().squeeze(1)
            if not len(split):
                break
            cells = cells.halved(split, cells.lengths[split].argmax(dim=1))
        known = Places.joined(probes)
        return Cells(self.decoder, self.rule, torch.cat(vertices), self.finer, known)

    def _near(self, cells: Cells) -> _Pairs:
        """All pairs that may matter, found by groups of x that lie together."""
        groups = _groups(self.x, torch.arange(len(self.x), device=self.x.device))
        floor, every = self._floor(), torch.arange(len(cells.log_size), device=self.x.device)
        found = []
        for group in groups:
            low, high = self.x[group].aminmax(dim=0)
            most, _ = cells.at(every, low.expand(len(every), -1), high.expand(len(every), -1))
            near = every[most > floor[group].min()]
            for some in near.split(max(1, AT_ONCE[near.device.type] // len(group))):
                pairs = some.repeat(len(group)), group.repeat_interleave(len(some))
                found.append(self._matter(cells, *pairs))
        return _Pairs.joined(found)

    def _floor(self) -> Tensor:
        """[n] log of what a cell must hold to matter."""
        return torch.maximum(self.least, self.peak - HIDDEN) + math.log(NEGLIGIBLE)

    def _matter(self, cells: Cells, cell: Tensor, index: Tensor) -> _Pairs:
        """Those of pairs [p] that can hold more than a negligible share."""
        floor, found = self._floor().to(self.x.dtype), []
        for some, its in _parts(cell, index):
            x = self.x.index_select(0, its)
            most, hides = cells.at(some, x, x)
            kept = (most > floor.index_select(0, its)).nonzero().squeeze(1)
            found.append(_Pairs(*_picked(kept, some, its, most, hides)))
        return _Pairs.joined(found)

    def _log_density(self, places: Places, cell: Tensor, index: Tensor) -> Tensor:
        """[places, p] log p(x, z) of pairs at these places of the cell."""
        density = places.log_height.index_select(0, cell)
        common = places.common
        for k in range(len(self.columns)):
            offset = self.columns[k].index_select(0, index).unsqueeze(1)
            offset = offset - places.loc[k].index_select(0, cell)
            if common is None:
                offset *= places.precision[k].index_select(0, cell)
            density.addcmul_(offset, offset, value=-0.5 * (common[k] ** 2 if common else 1.0))
        return density.T.contiguous()

    def _look(self, cells: Cells, pairs: _Pairs) -> _Look:
        cell, most, hides = pairs.cell, pairs.most, pairs.hides
        density = self._log_density(cells.probes, cell, pairs.index)
        size = cells.log_size.index_select(0, cell)
        peak = density.amax(dim=0)
        seen = peak - density.amin(dim=0)
        along = [(density[i], density[j], density[m]) for i, j, m in self.rule.along]
        bend = torch.stack([(a + b - 2 * m).abs() for a, b, m in along]).amax(dim=0)
        share = (seen / self.rule.linear).pow(6) + self.rule.bent * bend.pow(3)
        share = share.clamp(max=1.0).masked_fill(hides, 1.0)
        most = torch.where(hides, most, torch.minimum(most, peak + seen + size))
        variation = torch.stack([(a - m).abs() + (b - m).abs() for a, b, m in along], dim=1)
        variation += LENGTHWISE * seen.unsqueeze(1) * cells.shape.index_select(0, cell)
        rough = (density - peak).exp_().mean(dim=0).log_() + peak + size
        return _Look(rough, most, most + share.log(), share < ROUGH, peak, variation)

    def _integral(self, places: Places, log_size: Tensor, cell: Tensor, index: Tensor) -> Tensor:
        """[p] log of what the rule gives in cells of these nodes and sizes."""
        density = self._log_density(places, cell, index)
        peak = density.amax(dim=0)
        weights = torch.tensor(self.rule.weights, dtype=density.dtype, device=density.device)
        return (weights @ (density - peak).exp_()).log_() + peak + log_size.index_select(0, cell)

    def _settled(self, cells: Cells, pairs: _Pairs) -> tuple[Tensor, Tensor]:
        """Adds the integrals that need no finer cells; which pairs do, and how they vary."""
        cell, index = pairs.cell, pairs.index
        looks = [self._look(cells, some) for some in pairs.parts()]
        names = ("rough", "most", "miss", "trusted", "peak", "variation")
        rough, most, miss, trusted, peak, variation = (
            torch.cat([getattr(look, name) for look in looks]) for name in names
        )
        n = len(self.x)
        self.peak.scatter_reduce_(0, index, peak.double(), "amax")
        believed = rough.masked_fill(~trusted, -math.inf)
        self.least = torch.logaddexp(self.total, _summed(believed, index, n))
        enough = (self._floor() + math.log(TOLERANCE / NEGLIGIBLE)).to(miss.dtype)
        enough = enough.index_select(0, index)
        fine = (miss < enough) | cells.spent.index_select(0, cell)
        slight = most < enough  # worth no nodes
        rest = slight.nonzero().squeeze(1)
        self._add(*_picked(rest, rough, torch.maximum(miss, rough), index))
        worth = (fine & ~slight).nonzero().squeeze(1)
        cell, miss, index = _picked(worth, cell, miss, index)
        chosen, local = _renumbered(cell, len(cells.log_size))
        places, log_size = cells.nodes(chosen), cells.log_size[chosen]
        of_nodes = [self._integral(places, log_size, *some) for some in _parts(local, index)]
        self._add(torch.cat(of_nodes), miss, index)
        still = (~fine).nonzero().squeeze(1)
        return still, variation.index_select(0, still)

    def _add(self, log_values: Tensor, miss: Tensor, index: Tensor) -> None:
        """Adds integrals [p], and what they may miss, to those of each index [p]."""
        self.total = torch.logaddexp(self.total, _summed(log_values, index, len(self.x)))
        self.missed = torch.logaddexp(self.missed, _summed(miss, index, len(self.x)))

    def _edges(self, cells: Cells, chosen: Tensor, cell: Tensor, variation: Tensor) -> Tensor:
        """[m] edges that the chosen cells are cut across, for their open pairs [p]."""
        most = torch.zeros_like(cells.lengths[chosen])
        most.scatter_reduce_(0, cell.unsqueeze(1).expand_as(variation), variation, "amax")
        return (most + cells.stretch[chosen]).argmax(dim=1)


def _parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of equal length, as many rows at once as memory near the processor holds."""
    return zip(*(each.split(AT_ONCE[each.device.type]) for each in tensors), strict=True)


def _picked(which: Tensor, *tensors: Tensor) -> Iterator[Tensor]:
    """Of each tensor the rows of an index."""
    return (each.index_select(0, which) for each in tensors)


def _groups(x: Tensor, index: Tensor) -> list[Tensor]:
    """The x [n, d] of an index, in groups of at most TOGETHER that lie close together."""
    if len(index) <= TOGETHER:
        return [index]
    low, high = x[index].aminmax(dim=0)
    order = x[index, (high - low).argmax()].argsort()
    return [each for half in order.chunk(2) for each in _groups(x, index[half])]


def _renumbered(number: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Which of so many numbers there are, in order, and where each [p] is among them."""
    there = torch.zeros(count, dtype=torch.bool, device=number.device)
    there[number] = True
    return there.nonzero().squeeze(1), (there.cumsum(0) - 1).index_select(0, number)


def _summed(log_values: Tensor, index: Tensor, n: int) -> Tensor:
    """[n] log of the sum of exp(log_values) [p] over those of each index [p], float64."""
    log_values = log_values.double()
    highest = torch.full((n,), -math.inf, dtype=log_values.dtype, device=log_values.device)
    highest.scatter_reduce_(0, index, log_values, "amax")
    shift = highest.nan_to_num(neginf=0.0)
    shares = (log_values - shift.index_select(0, index)).exp_()
    sums = torch.zeros_like(highest).scatter_add_(0, index, shares)
    return sums.log() + shift
