import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import benchmark.metrics.neighbours as neighbours_module
from benchmark.metrics import pairwise
from benchmark.metrics.neighbours import membership, squared_radii


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that sets of a hundred span several blocks, the last one shorter."""
    monkeypatch.setattr(pairwise, "ROWS_AT_ONCE", 37)
    monkeypatch.setattr(pairwise, "PAIRS_AT_ONCE", 11)
    monkeypatch.setattr(neighbours_module, "OPEN_ROWS_AT_ONCE", 13)


def differences(x, y):
    """[n, m] squared distances without products."""
    return (x.double()[:, None] - y.double()[None]).square().sum(dim=2)


def radii_by_sorting(x, k):
    return differences(x, x).sort(dim=1).values[:, k]  # place 0 is the vector itself


SETS = {
    "scattered": lambda: torch.randn(120, 9),
    "of the plane": lambda: torch.randn(120, 2),
    "of the plane, far from the origin": lambda: torch.randn(120, 2).double() + 1e8,
    "float64": lambda: torch.randn(120, 9).double(),
    "far from the origin": lambda: torch.randn(120, 9).double() + 1e8,
    "on a grid, with many ties": lambda: torch.randint(0, 4, (120, 3)).float(),
    "on a grid of more dimensions": lambda: torch.randint(0, 2, (120, 10)).float(),
    "one vector repeated": lambda: torch.randn(1, 9).repeat(120, 1),
    "two tight clusters far apart": lambda: (
        1e-9 * torch.randn(120, 9).double() + 1000.0 * (torch.arange(120) % 2)[:, None]
    ),
    "a thin shell around one vector": lambda: (
        torch.cat(
            [
                torch.zeros(1, 9).double(),
                torch.nn.functional.normalize(torch.randn(119, 9).double()),
            ]
        )
        * (1 + 1e-9 * torch.rand(120, 1).double())
    ),
    "an outlier": lambda: torch.cat([torch.randn(119, 9), torch.full((1, 9), 1e6)]),
}


@pytest.mark.parametrize("name", SETS)
def test_radii_are_those_of_all_distances_sorted(name):
    vectors = SETS[name]()
    found = squared_radii(vectors, (1, 3, 5))
    for row, k in zip(found, (1, 3, 5), strict=True):
        torch.testing.assert_close(row, radii_by_sorting(vectors, k), rtol=1e-12, atol=0)


def test_radii_agree_with_scikit_learn_in_many_dimensions():
    vectors = torch.randn(150, 300).double() @ torch.randn(300, 300).double()
    tree = NearestNeighbors(n_neighbors=4, algorithm="ball_tree").fit(vectors.numpy())
    expected = torch.from_numpy(tree.kneighbors()[0][:, 3]).square()
    torch.testing.assert_close(squared_radii(vectors, (4,))[0], expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", SETS)
def test_membership_is_that_of_all_distances(name):
    real = SETS[name]()
    generated = torch.cat([real[:50], SETS[name]()])  # copies of real vectors among them
    radii_r, radii_g = squared_radii(real, (3, 5)), squared_radii(generated, (3, 5))
    found = membership(real=real, generated=generated, real_radii=radii_r, generated_radii=radii_g)
    squares = differences(real, generated)
    for balls, of_real, of_generated in zip(found, radii_r, radii_g, strict=True):
        assert balls.real_balls.equal((squares < of_real[:, None]).sum(dim=0).float())
        assert balls.used.equal((squares < of_real[:, None]).any(dim=1))
        assert balls.reached.equal((squares < of_generated).any(dim=1))


def test_distinct_rows_are_the_first_copies():
    # Of two rows with one sum, and rows that are equal to the last bit.
    vectors = torch.tensor(
        [[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [5.0, 0.5], [2.0, 1.0], [1.0, 2.0]]
    )
    found = pairwise.distinct_rows(vectors)
    assert found.rows.tolist() == [0, 1, 3]
    assert found.counts.tolist() == [3, 2, 1]
    assert found.which.tolist() == [0, 1, 0, 2, 1, 0]


def test_a_vector_on_the_surface_of_a_ball_is_outside():
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    generated = torch.tensor([[2.0], [2.0001], [100.0], [300.0]])
    radii = squared_radii(real, (2,))
    assert radii.tolist() == [[9.0, 4.0, 9.0, 36.0]]
    found = membership(real=real, generated=generated, real_radii=radii, generated_radii=radii)
    assert found[0].real_balls.tolist() == [4.0, 4.0, 0.0, 0.0]
    at_one = torch.tensor([[3.0], [9.0], [100.0], [300.0]])  # 3 lies on the ball around 0 and 1
    found = membership(real=real, generated=at_one, real_radii=radii, generated_radii=radii)
    assert found[0].real_balls.tolist() == [2.0, 1.0, 0.0, 0.0]


def test_progress_is_told_of_every_block():
    seen = []
    squared_radii(torch.randn(120, 3), (2,), lambda step, total: seen.append((step, total)))
    assert seen == [(step, 10) for step in range(10)]


def test_inputs_are_left_as_they_were():
    vectors = torch.randn(120, 4)
    before = vectors.clone()
    squared_radii(vectors, (2,))
    assert vectors.equal(before)


def test_rejects_more_neighbours_than_there_are():
    with pytest.raises(ValueError, match=r"neighbours must lie in 1..4 for 5 vectors, got \[5\]"):
        squared_radii(torch.randn(5, 2), (5,))
