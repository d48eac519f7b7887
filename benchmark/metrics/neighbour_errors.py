"""The error of a share of right answers, where nearest neighbours answer each other."""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

SMALLEST = 4  # examples of a group that shows a fourth moment


def variance_of_right_answers(chosen: Tensor, nearest: Tensor) -> float:
    """Variance of the sum of residuals of one set's answers, over fresh examples of both sets.

    An example of the set is right where its nearest neighbour is of the set too; its residual is
    1 or 0 less the share s of right answers.

    Given where the examples lie, two answers depend on each other only where the examples or
    their neighbours are shared: the products of residuals over such pairs are summed. At a place
    where a share p of the examples is of the set, each pair adds p² (p - s)² too much, for there
    residuals have the mean p (p - s); that is taken off again, except from answers themselves,
    whose places are random. Both sets are fixed in size: the sum changes by r with one more
    example of the set, and by -r n / m with one more of the other, where r is E p² (1 - p) / E p,
    and that variance goes. For p the same everywhere nothing is taken off, and r is s (1 - s).

    Means over places are those over groups of examples that neighbours link, where the other
    members show what p is. The mean residual of a group with itself is set to zero, so that in
    many dimensions, where one group holds most examples, no variance is taken off.

    The spread over half samples is up to √2 too large here: a half has other neighbours.

    Args:
        chosen: [N] True for the n examples of the set, 0 < n < N.
        nearest: [N] number of each one's nearest neighbour.

    Returns:
        The estimate, unbiased for many examples; seldom, for few, below zero.

    Source: Aronow, Samii and Assenova 2015, "Cluster-robust variance estimation for dyadic data",
    Political Analysis 23(4), for the sum over pairs that share a member; Penrose and Yukich 2001,
    "Central limit theorems for some graphs in computational geometry", Annals of Applied
    Probability 11(4), theorem 2.1, for what fixed sizes take off.
    """
    count, others = int(chosen.sum()), int((~chosen).sum())
    told = (chosen & chosen[nearest]).double()
    share = told.sum().item() / count
    residuals = torch.where(chosen, told - share, 0.0)
    excess, mixing = _mixing(chosen, nearest)
    change = mixing * share * (1 - share)
    fixed = count * change**2 + (count * change) ** 2 / others
    unequal = _sum_over_sharing(torch.ones_like(residuals), nearest) - len(nearest)
    return _sum_over_sharing(residuals, nearest) - excess * unequal - fixed


def _sum_over_sharing(values: Tensor, nearest: Tensor) -> float:
    """Sum of products of values [N] over all (i, j) that share themselves or their neighbours.

    It is had from the sums at every example, which count twice what shares two: an answer with
    itself, and with that of a mutual neighbour.
    """
    at = values.index_add(0, nearest, values)
    mutual = nearest[nearest] == torch.arange(len(nearest))
    twice = values.square() + torch.where(mutual, values * values[nearest], 0.0)
    return (at.square().sum() - twice.sum()).item()


def _mixing(chosen: Tensor, nearest: Tensor) -> tuple[float, float]:
    """E p² (p - s)² with s = E p² / E p, and E p² (1 - p) / E p over s (1 - s), of groups."""
    first, second, third, fourth = _moments(chosen, nearest)
    share = second / first if first else 0.0
    if not 0 < share < 1:
        return 0.0, 1.0
    excess = fourth - 2 * share * third + share**2 * second
    return excess, (second - third) / first / (share * (1 - share))


def _moments(chosen: Tensor, nearest: Tensor) -> list[float]:
    """E p, E p², E p³, E p⁴ over groups: shares of tuples of members that are all of the set."""
    every = np.arange(len(nearest))
    links = coo_array((np.ones(len(every)), (every, nearest.numpy())))
    links.resize(len(every), len(every))
    _, group = connected_components(links, directed=False)
    sizes, members = np.bincount(group), np.bincount(group, weights=chosen.numpy())
    large = sizes >= SMALLEST
    if not large.any():
        return [0.0] * SMALLEST
    taken = np.arange(SMALLEST)
    shares = (members[large, None] - taken) / (sizes[large, None] - taken)
    return list(np.average(shares.cumprod(axis=1), axis=0, weights=sizes[large]))
