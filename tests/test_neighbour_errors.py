from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from benchmark.metrics.neighbour_errors import variance_of_right_answers


def neighbours_of(points):
    search = NearestNeighbors(n_neighbors=1).fit(points.numpy())
    return torch.from_numpy(search.kneighbors(return_distance=False)[:, 0])


def groups_of(nearest):
    """Members of every group that links join, found by spreading labels until none changes."""
    label = list(range(len(nearest)))
    for _ in nearest:
        for i, j in enumerate(nearest):
            label[i] = label[j] = min(label[i], label[j])
    return [[i for i, of in enumerate(label) if of == own] for own in sorted(set(label))]


def share_of_tuples(groups, chosen, size):
    """Mean over groups, by members, of the share of ordered tuples that are all of the set."""
    shares = [np.mean([chosen[list(t)].all() for t in permutations(g, size)]) for g in groups]
    return np.average(shares, weights=[len(group) for group in groups])


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_variance_is_the_direct_sum_over_pairs_that_share_an_example(shift):
    points = torch.cat([torch.randn(22, 2), torch.randn(17, 2) * 0.7 + shift])
    chosen, nearest = np.arange(39) >= 22, neighbours_of(points).tolist()
    told = chosen & chosen[nearest]
    share = told.sum() / 17
    e = np.where(chosen, told - share, 0.0)
    pairs = [(i, j) for i in range(39) for j in range(39) if {i, nearest[i]} & {j, nearest[j]}]
    large = [group for group in groups_of(nearest) if len(group) >= 4]
    assert len(large) > 1
    p1, p2, p3, p4 = (share_of_tuples(large, chosen, size) for size in (1, 2, 3, 4))
    s = p2 / p1
    excess = p4 - 2 * s * p3 + s**2 * p2
    change = (p2 - p3) / p1 / (s * (1 - s)) * share * (1 - share)
    expected = sum(e[i] * e[j] for i, j in pairs) - excess * (len(pairs) - 39)
    expected -= 17 * change**2 + 22 * (17 / 22 * change) ** 2
    found = variance_of_right_answers(torch.from_numpy(chosen), torch.tensor(nearest))
    assert found == pytest.approx(expected)


def test_without_groups_of_four_the_sums_are_centred_within_either_set():
    chosen = torch.tensor([True, True, True, False, False, False, True, False])
    nearest = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])
    e = np.array([1, 1, 0, 0, 0, 0, 0, 0]) - 0.5 * chosen.numpy()
    at = np.array([e[i] + e[nearest[i]] for i in range(8)])
    total = sum(e[i] * e[j] for i in range(8) for j in (i, nearest[i]))
    for side in (chosen.numpy(), ~chosen.numpy()):
        total -= side.sum() * at[side].mean() ** 2
    assert variance_of_right_answers(chosen, nearest) == pytest.approx(total)


@pytest.mark.parametrize(
    ("dims", "scale", "shift"), [(1, 0.5, 0.5), (2, 0.6, 1.0)], ids=["line", "plane"]
)
def test_places_of_unequal_mixing_do_not_widen_the_error(dims, scale, shift):
    # A sum over pairs alone, centred within either set, is half as large again on the line.
    shares, variances = [], []
    for _ in range(400):
        points = torch.cat([torch.randn(300, dims), torch.randn(300, dims) * scale + shift])
        nearest = neighbours_of(points)
        chosen = torch.arange(600) >= 300
        shares.append(chosen[nearest[chosen]].double().mean().item())
        variances.append(variance_of_right_answers(chosen, nearest) / 300**2)
    assert np.mean(variances) ** 0.5 == pytest.approx(np.std(shares), rel=0.12)


def test_all_told_rightly_has_no_variance():
    chosen = torch.tensor([True, True, False, False])
    assert variance_of_right_answers(chosen, torch.tensor([1, 0, 3, 2])) == 0.0
