"""Segments and triangles that an integral is taken over: where they are looked at, and halved."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations, groupby

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rule:
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

    @cached_property
    def halving(self) -> tuple[list[list[list[float]]], list[list[list[int]]]]:
        """For a cut across each edge: what halves have as probes that the whole has not.

        Returns:
            [edges, new, vertices] barycentric, in the whole, and [edges, 2, probes] where the
            probes of both halves are among those of the whole followed by the new ones.
        """
        all_new, all_places = [], []
        corners = torch.eye(self.latents + 1).expand(len(self.edges), -1, -1)
        halves = halved(corners, torch.arange(len(self.edges)), self.edges).chunk(2)
        for both in zip(*halves, strict=True):
            known = list(self.probes)
            probes = [(torch.tensor(self.probes) @ half).tolist() for half in both]
            known += [new for new, _ in groupby(sorted(chain(*probes))) if new not in known]
            all_new.append(known[len(self.probes) :])
            all_places.append([[known.index(probe) for probe in half] for half in probes])
        return all_new, all_places


def _segment() -> Rule:
    far = (1 + math.sqrt(0.6)) / 2
    nodes = ((far, 1 - far), (1 - far, far), (0.5, 0.5))
    return Rule(1, nodes, (5 / 18, 5 / 18, 8 / 18), linear=11.0, bent=5e-4)


def _triangle() -> Rule:
    root = math.sqrt(15)

    def around(share: float) -> list[tuple[float, ...]]:
        rest = 1 - 2 * share
        return [tuple(rest if i == j else share for j in range(3)) for i in range(3)]

    nodes = (*around((6 - root) / 21), *around((6 + root) / 21), (1 / 3, 1 / 3, 1 / 3))
    weights = (*[(155 - root) / 1200] * 3, *[(155 + root) / 1200] * 3, 9 / 40)
    return Rule(2, nodes, weights, linear=12.5, bent=3e-4)


RULES = {1: _segment(), 2: _triangle()}


def halved(vertices: Tensor, edge: Tensor, edges: list[tuple[int, int]]) -> Tensor:
    """[2 m, ...] both halves of simplices [m, ...], each cut across one of its edges [m]."""
    ends = torch.tensor(edges, device=edge.device)[edge]
    rows = torch.arange(len(edge), device=edge.device)
    middle = 0.5 * (vertices[rows, ends[:, 0]] + vertices[rows, ends[:, 1]])
    first, second = vertices.clone(), vertices.clone()
    first[rows, ends[:, 0]] = middle
    second[rows, ends[:, 1]] = middle
    return torch.cat([first, second])
