"""log p(x) by integration over the latents, where these are one or two and the noise is normal.

Where a generator has so few latents nothing needs to be estimated: the integral of p(x given z)
p(z) is taken over segments or triangles of z that are halved, for each x, until what their rule
can miss is a negligible part of the whole. Posteriors that fall apart into islands, or lie far
out in the prior's tail because x belongs to a mode that the generator lacks, cost time and no
accuracy.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from benchmark.estimators.latents import StandardLatents
from benchmark.spec import LatentModel

MOST_LATENTS = 2
TOLERANCE = 3e-5  # share of p(x) that the rule may miss in one cell
REACH = 1.5  # how far a cell's image is taken to go, beside how far those of its nodes go
FINE = 0.125  # length of edges up to which nodes are trusted to show what a network does
COARSER = 1 / 12  # and by which share of the distance from the prior's centre they may be longer
WIDE = 4.0  # standard deviations of noise: nodes of a larger image can step over an x
LENGTHWISE = 0.1  # of what varies in a cell, put down to its edges by their lengths
ROUGH = 0.1  # share that the rule may miss where an integral is of the right size
HIDDEN = 20.0  # nats that an integral may lie below the highest log density seen
NARROWEST = 1e-5  # length of edges relative to where they lie, near single precision
TOGETHER = 32  # x of a group that cells are first compared with
GRID, GRID_EDGE = 65, 6.0  # where the log density is looked at first
MOST_PAIRS, FEW = 30_000, 100  # cells looked at for each x, as if there were FEW at least
MOST_HALVINGS = 200  # one after the other; some 40 reach NARROWEST along both axes
AT_ONCE = {"nodes": 4_000, "pairs": 40_000}
LOST = 1e12  # where x is taken to be from latents far out whose image overflows
HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


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

    Each cell, a segment or a triangle of latents, has a rule of degree 5. The images of its nodes
    bound, with a margin, where the decoder takes the cell, and hence how large the integrand can
    be in it; how much the integrand's logarithm varies and bends among the nodes tells what the
    rule can miss. A cell is halved across the edge of largest variation for those x alone of
    whose integral more than TOLERANCE could be missed there.

    Args:
        model: with a prior of one or two independent latents, and normal coordinates around what
            it decodes.
        x: [n, *shape] points.
        progress: is told of how many x the integral has been taken, and n.
        finer: size of the first cells, beside the usual: below 1 less can hide between nodes.

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
            _Decoder(model)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Rule:
    """Where a simplex is looked at: probes show how f varies in it, nodes give the mean of exp(f).

    The vertices are among the probes, so that cells which share them leave no gap between each
    other in which a decoder could jump unseen.

    Args:
        latents: 1 for segments, 2 for triangles.
        nodes: [m, vertices] barycentric, and
        weights: [m] of a mean that is exact up to degree 5.
        linear: the nodes miss at most the share (r / linear)^6 where f is linear with range r, and
        bent: about bent c^3 where f has a maximum inside and the second difference c.
    """

    latents: int
    nodes: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    linear: float
    bent: float

    @property
    def edges(self) -> list[tuple[int, int]]:
        return list(combinations(range(self.latents + 1), 2))

    @property
    def probes(self) -> list[list[float]]:
        """[q, vertices] barycentric: the vertices, and the middles of the edges."""
        corners = range(self.latents + 1)
        vertices = [[float(i == j) for j in corners] for i in corners]
        return vertices + [[0.5 * (j in ends) for j in corners] for ends in self.edges]

    @property
    def along(self) -> list[tuple[int, int, int]]:
        """Probes on each edge: its ends and its middle."""
        first = self.latents + 1
        return [(*ends, first + number) for number, ends in enumerate(self.edges)]


def _segment() -> _Rule:
    far = (1 + math.sqrt(0.6)) / 2
    nodes = ((far, 1 - far), (1 - far, far), (0.5, 0.5))
    return _Rule(1, nodes, (5 / 18, 5 / 18, 8 / 18), linear=11.0, bent=5e-4)


def _triangle() -> _Rule:
    root = math.sqrt(15)

    def around(share: float) -> list[tuple[float, ...]]:
        rest = 1 - 2 * share
        return [tuple(rest if i == j else share for j in range(3)) for i in range(3)]

    nodes = (*around((6 - root) / 21), *around((6 + root) / 21), (1 / 3, 1 / 3, 1 / 3))
    weights = (*[(155 - root) / 1200] * 3, *[(155 + root) / 1200] * 3, 9 / 40)
    return _Rule(2, nodes, weights, linear=12.5, bent=3e-4)


RULES = {1: _segment(), 2: _triangle()}


class _Decoder:
    """Mean and scale of x at latents that are N(0, I)."""

    def __init__(self, model: LatentModel) -> None:
        self.latents = StandardLatents(model)
        self.dims = self.latents.latents
        if self.dims > MOST_LATENTS:
            raise ValueError(
                f"the model has {self.dims} latents: only up to {MOST_LATENTS} are integrated over"
            )
        self(torch.zeros(1, self.dims, device=self.latents.device))

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """[m, d] mean and log standard deviation, float64, at u [m, latents]."""
        parts = [self._of(part) for part in u.split(AT_ONCE["nodes"])]
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
        if bool((lost & (u.abs().amax(dim=1) <= GRID_EDGE)).any()):
            raise ValueError("decode(z) gives values that are no numbers")
        return (
            loc.masked_fill(lost.unsqueeze(1), LOST),
            log_scale.masked_fill(lost.unsqueeze(1), 0.0),
        )


@dataclass(frozen=True)
class _Places:
    """What is decoded at m places of c cells.

    Args:
        log_height: [c, m] log p(x, z) of an x at the mean of p(x given z).
        loc: [d, c, m] that mean, and
        precision: [d, c, m] one over its standard deviation.
    """

    log_height: Tensor
    loc: Tensor
    precision: Tensor


class _Cells:
    """Simplices of latents, what is decoded at their nodes, and bounds of it.

    Args:
        vertices: [c, latents + 1, latents].
        finer: what lengths of cells that nodes are trusted in are multiplied by.
    """

    def __init__(self, decoder: _Decoder, rule: _Rule, vertices: Tensor, finer: float) -> None:
        self.vertices, dims = vertices, decoder.dims
        places = torch.tensor([*rule.probes, *rule.nodes], dtype=vertices.dtype)
        nodes = places.to(vertices.device) @ vertices
        loc, log_scale = (
            each.unflatten(0, nodes.shape[:2]) for each in decoder(nodes.flatten(0, 1))
        )
        constant = (dims + loc.shape[2]) * HALF_LOG_2_PI
        log_height = -0.5 * nodes.square().sum(dim=2) - log_scale.sum(dim=2) - constant
        precision = (-log_scale).exp()
        self.probes, self.nodes = (
            _Places(
                log_height[:, some].contiguous(),
                loc[:, some].permute(2, 0, 1).contiguous(),
                precision[:, some].permute(2, 0, 1).contiguous(),
            )
            for some in (slice(len(rule.probes)), slice(len(rule.probes), None))
        )
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
        self.log_most = -0.5 * nearest - log_finest.sum(dim=1) - constant + self.log_size
        image = loc / finest.unsqueeze(1)
        ends = [image[:, i] - image[:, j] for i, j in rule.edges]
        self.stretch = 0.5 * torch.stack([each.square().sum(dim=1) for each in ends], dim=1)
        self.shape = self.lengths / self.lengths.amax(dim=1, keepdim=True)
        self.stretch += LENGTHWISE * extent.unsqueeze(1) * self.shape
        longest, away = self.lengths.amax(dim=1), vertices.mean(dim=1).norm(dim=1)
        self.unseen = longest > finer * (COARSER * away).clamp(min=FINE)
        self.spent = longest < NARROWEST * away.clamp(min=1.0)

    def at(self, cell: Tensor, x_low: Tensor, x_high: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds for cells [p] and x anywhere in boxes from `x_low` to `x_high` [p, d].

        Returns:
            [p] log of what the integral can be at most, by where the cell's image lies, and
            whether its nodes can step over x.
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
    """[c, d] bounds of what has `values` [c, nodes, d] at the nodes."""
    low, high = values.aminmax(dim=1)
    middle, radius = (low + high) / 2, REACH * (high - low) / 2
    return middle - radius, middle + radius


def _halved(vertices: Tensor, edge: Tensor, edges: list[tuple[int, int]]) -> Tensor:
    """[2 m, ...] both halves of simplices [m, ...], each cut across one of its edges [m]."""
    ends = torch.tensor(edges, device=edge.device)[edge]
    rows = torch.arange(len(edge), device=edge.device)
    middle = 0.5 * (vertices[rows, ends[:, 0]] + vertices[rows, ends[:, 1]])
    first, second = vertices.clone(), vertices.clone()
    first[rows, ends[:, 0]] = middle
    second[rows, ends[:, 1]] = middle
    return torch.cat([first, second])


@dataclass(frozen=True)
class _Look:
    """What is known of pairs of a cell and an x.

    Args:
        rough: [p] log of the integral, roughly.
        miss: [p] log of what the rule can miss.
        trusted: [p] whether the rough integral is of the right size.
        peak: [p] highest log density at a probe.
        variation: [p, edges] of the log density along each edge, nats.
    """

    rough: Tensor
    miss: Tensor
    trusted: Tensor
    peak: Tensor
    variation: Tensor


class _Adaptive:
    def __init__(self, model: LatentModel, x: Tensor, finer: float) -> None:
        self.finer = finer
        self.decoder = _Decoder(model)
        self.rule = RULES[self.decoder.dims]
        self.x = x.flatten(1).double()
        nothing = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        self.peak, self.total, self.missed = nothing, nothing.clone(), nothing.clone()
        self.cells = self.pairs = 0

    def run(self, progress: Callable[[int, int], None]) -> Integral:
        n = len(self.x)
        cells = self._seen(self._root())
        cell, index = self._near(cells)
        rounds = 0
        while len(cell):
            rounds, self.pairs = rounds + 1, self.pairs + len(cell)
            if rounds > MOST_HALVINGS or self.pairs > MOST_PAIRS * max(n, FEW):
                raise TooIntricate(
                    f"log p(x) would take more than {MOST_PAIRS:,} cells of latents an x or "
                    f"{MOST_HALVINGS} halvings: the decoder bends too often beside its noise"
                )
            still, variation = self._settled(cells, cell, index)
            cell, index = cell[still], index[still]
            if not len(cell):
                break
            progress(n - len(index.unique()), n)
            chosen, cell = cell.unique(return_inverse=True)
            edge = self._edges(cells, chosen, cell, variation)
            halves = _halved(cells.vertices[chosen], edge, self.rule.edges)
            cell, index = torch.cat([cell, cell + len(chosen)]), index.repeat(2)
            cells = self._decoded(halves)
            matter = self._matters(cells, cell, index)
            cell, index = cell[matter], index[matter]
        return Integral(self.total, (self.missed - self.total).exp(), self.cells, self.pairs)

    def _decoded(self, vertices: Tensor) -> _Cells:
        self.cells += len(vertices)
        return _Cells(self.decoder, self.rule, vertices, self.finer)

    def _root(self) -> Tensor:
        """Simplices out to where the prior rules everything out, after a first look inside."""
        device, dims = self.x.device, self.decoder.dims
        line = torch.linspace(-GRID_EDGE, GRID_EDGE, GRID, dtype=torch.float64, device=device)
        u = torch.cartesian_prod(*[line] * dims).view(-1, dims)
        loc, log_scale = self.decoder(u)
        constant = (dims + loc.shape[1]) * HALF_LOG_2_PI
        height = -0.5 * u.square().sum(dim=1) - log_scale.sum(dim=1) - constant
        rows = max(1, AT_ONCE["pairs"] // len(u))
        self.peak = torch.cat(
            [
                (height - 0.5 * ((x.unsqueeze(1) - loc) / log_scale.exp()).square().sum(2)).amax(1)
                for x in self.x.split(rows)
            ]
        )
        needed = height.max() - self.peak.min() + HIDDEN - math.log(TOLERANCE)
        edge = math.sqrt(2 * needed.item()) + GRID_EDGE
        if dims == 1:
            vertices = [[[-edge], [edge]]]
        else:
            corners = [[-edge, -edge], [edge, -edge], [edge, edge], [-edge, edge]]
            vertices = [corners[:3], [corners[2], corners[3], corners[0]]]
        return torch.tensor(vertices, dtype=torch.float64, device=device)

    def _seen(self, vertices: Tensor) -> _Cells:
        """Cells so fine that their nodes show what the decoder does, wherever it can matter."""
        floor = self._floor().min()
        kept = []
        while len(vertices):
            cells = self._decoded(vertices)
            matter = cells.log_most > floor
            kept.append(vertices[matter & ~cells.unseen])
            split = matter & cells.unseen
            longest = cells.lengths[split].argmax(dim=1)
            vertices = _halved(vertices[split], longest, self.rule.edges)
        return self._decoded(torch.cat(kept))

    def _near(self, cells: _Cells) -> tuple[Tensor, Tensor]:
        """Cells and x of all pairs that may matter, found by groups of x that lie together."""
        groups = _halved_groups(self.x, torch.arange(len(self.x), device=self.x.device))
        floor, every = self._floor(), torch.arange(len(cells.log_size), device=self.x.device)
        found = []
        for group in groups:
            low, high = self.x[group].aminmax(dim=0)
            most, _ = cells.at(every, low.expand(len(every), -1), high.expand(len(every), -1))
            near = every[most > floor[group].min()]
            for some in near.split(max(1, AT_ONCE["pairs"] // len(group))):
                pairs = some.repeat(len(group)), group.repeat_interleave(len(some))
                matter = self._matters(cells, *pairs)
                found.append([each[matter] for each in pairs])
        return torch.cat([cell for cell, _ in found]), torch.cat([index for _, index in found])

    def _floor(self) -> Tensor:
        """[n] log of what a cell must hold to matter."""
        return torch.maximum(self.total, self.peak - HIDDEN) + math.log(TOLERANCE)

    def _matters(self, cells: _Cells, cell: Tensor, index: Tensor) -> Tensor:
        """[p] whether a pair can hold more than the tolerance."""
        x, floor = self.x[index], self._floor()[index]
        most = [cells.at(some, its, its)[0] for some, its in _parts(cell, x)]
        return torch.cat(most) > floor

    def _log_density(self, places: _Places, cell: Tensor, index: Tensor) -> Tensor:
        """[places, p] log p(x, z) of pairs at these places of the cell."""
        density = places.log_height.index_select(0, cell)
        for k in range(self.x.shape[1]):
            offset = self.x[:, k][index].unsqueeze(1) - places.loc[k].index_select(0, cell)
            offset *= places.precision[k].index_select(0, cell)
            density.addcmul_(offset, offset, value=-0.5)
        return density.T.contiguous()

    def _look(self, cells: _Cells, cell: Tensor, index: Tensor) -> _Look:
        x = self.x[index]
        most, hides = cells.at(cell, x, x)
        density = self._log_density(cells.probes, cell, index)
        size = cells.log_size[cell]
        peak = density.amax(dim=0)
        seen = peak - density.amin(dim=0)
        along = [(density[i], density[j], density[m]) for i, j, m in self.rule.along]
        bend = torch.stack([(a + b - 2 * m).abs() for a, b, m in along]).amax(dim=0)
        share = (seen / self.rule.linear).pow(6) + self.rule.bent * bend.pow(3)
        share = share.clamp(max=1.0).masked_fill(hides, 1.0)
        most = torch.where(hides, most, torch.minimum(most, peak + seen + size))
        variation = torch.stack([(a - m).abs() + (b - m).abs() for a, b, m in along], dim=1)
        variation += LENGTHWISE * seen.unsqueeze(1) * cells.shape[cell]
        rough = density.logsumexp(dim=0) - math.log(len(density)) + size
        return _Look(rough, most + share.log(), share < ROUGH, peak, variation)

    def _integral(self, cells: _Cells, cell: Tensor, index: Tensor) -> Tensor:
        """[p] log of what the rule gives."""
        density = self._log_density(cells.nodes, cell, index)
        peak = density.amax(dim=0)
        weights = torch.tensor(self.rule.weights, dtype=density.dtype, device=density.device)
        return (weights @ (density - peak).exp_()).log_() + peak + cells.log_size[cell]

    def _settled(self, cells: _Cells, cell: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the integrals that need no finer cells; which pairs [p] do, and how they vary."""
        looks = [self._look(cells, *pairs) for pairs in _parts(cell, index)]
        names = ("rough", "miss", "trusted", "peak", "variation")
        rough, miss, trusted, peak, variation = (
            torch.cat([getattr(look, name) for look in looks]) for name in names
        )
        n = len(self.x)
        self.peak.scatter_reduce_(0, index, peak, "amax")
        least = torch.logaddexp(self.total, _summed(rough[trusted], index[trusted], n))
        least = torch.maximum(least, self.peak - HIDDEN)
        fine = (miss < least[index] + math.log(TOLERANCE)) | cells.spent[cell]
        done = [self._integral(cells, *pairs) for pairs in _parts(cell[fine], index[fine])]
        self.total = torch.logaddexp(self.total, _summed(torch.cat(done), index[fine], n))
        self.missed = torch.logaddexp(self.missed, _summed(miss[fine], index[fine], n))
        return ~fine, variation[~fine]

    def _edges(self, cells: _Cells, chosen: Tensor, cell: Tensor, variation: Tensor) -> Tensor:
        """[m] edges that the chosen cells are cut across, for their open pairs [p]."""
        most = torch.zeros_like(cells.lengths[chosen])
        most.scatter_reduce_(0, cell.unsqueeze(1).expand_as(variation), variation, "amax")
        return (most + cells.stretch[chosen]).argmax(dim=1)


def _parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of equal length, as many rows at once as memory near the processor holds."""
    return zip(*(each.split(AT_ONCE["pairs"]) for each in tensors), strict=True)


def _halved_groups(x: Tensor, index: Tensor) -> list[Tensor]:
    """The x [n, d] of an index, in groups of at most TOGETHER that lie close together."""
    if len(index) <= TOGETHER:
        return [index]
    low, high = x[index].aminmax(dim=0)
    order = x[index, (high - low).argmax()].argsort()
    return [each for half in order.chunk(2) for each in _halved_groups(x, index[half])]


def _summed(log_values: Tensor, index: Tensor, n: int) -> Tensor:
    """[n] log of the sum of exp(log_values) [p] over those of each index [p]."""
    highest = torch.full((n,), -math.inf, dtype=log_values.dtype, device=log_values.device)
    highest.scatter_reduce_(0, index, log_values, "amax")
    shift = highest.nan_to_num(neginf=0.0)
    sums = torch.zeros_like(highest).scatter_add_(0, index, (log_values - shift[index]).exp())
    return sums.log() + shift
