import pytest
import torch

from benchmark.spec import DataSpec
from zoo import pixelcnn_cache
from zoo.naive_sampling import draw_naively
from zoo.pixelcnn_cache import CachedLevel, CachedNetwork
from zoo.pixelcnn_pp import PixelConditionals


def random_conditionals(shape, levels, scales, classes=None):
    conditionals = PixelConditionals(
        DataSpec(shape, levels),
        filters=6,
        blocks=2,
        scales=scales,
        mixtures=3,
        dropout=0.3,
        classes=classes,
    ).eval()
    with torch.no_grad():
        for parameter in conditionals.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return conditionals


def recorded(conditionals, monkeypatch):
    """The parameters of every pixel that is drawn, in turn."""
    seen, pixel = [], PixelConditionals.pixel

    def recording(outputs, uniform):
        seen.append(outputs)
        return pixel(conditionals, outputs, uniform)

    monkeypatch.setattr(conditionals, "pixel", recording)
    return seen


@pytest.mark.parametrize(
    ("shape", "levels", "scales", "classes"),
    [((1, 6, 5), 17, 1, None), ((3, 4, 6), 256, 2, 3), ((3, 8, 12), 256, 3, None)],
)
def test_equals_running_the_whole_network_for_every_pixel(
    shape, levels, scales, classes, monkeypatch
):
    conditionals = random_conditionals(shape, levels, scales, classes)
    uniform, known = torch.rand(4, *conditionals.noise_shape), torch.zeros(4, *shape)
    labels = torch.tensor([2, 0, 1, 1]) if classes else None
    seen = recorded(conditionals, monkeypatch)

    cached = conditionals.draw(uniform, known, 0, labels)
    naive = draw_naively(conditionals, uniform, known, 0, labels)

    pixels = shape[1] * shape[2]
    torch.testing.assert_close(
        torch.stack(seen[:pixels]), torch.stack(seen[pixels:]), rtol=1e-5, atol=1e-5
    )
    assert len(cached.unique()) > 8
    assert torch.equal(cached, naive)


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_completing_keeps_the_rows_that_are_known_and_draws_the_others(rows):
    conditionals = random_conditionals((2, 8, 4), 9, scales=3)
    first, second = torch.rand(2, 3, *conditionals.noise_shape)
    known = conditionals.draw(first, torch.zeros(3, 2, 8, 4))
    before = known.clone()

    completed = conditionals.draw(second, known, rows)

    assert torch.equal(known, before)
    assert torch.equal(completed[:, :, :rows], known[:, :, :rows])
    assert torch.equal(completed, draw_naively(conditionals, second, known, rows))


def test_a_lower_scale_works_at_its_own_rows_and_columns_only(monkeypatch):
    conditionals = random_conditionals((1, 8, 12), 5, scales=3)
    asked, pixel = [], CachedLevel.pixel

    def recording(level, x, row, column):
        asked.append((level, row, column))
        return pixel(level, x, row, column)

    monkeypatch.setattr(pixelcnn_cache.CachedLevel, "pixel", recording)
    conditionals.draw(torch.rand(2, *conditionals.noise_shape), torch.zeros(2, 1, 8, 12))

    places = {}
    for level, *place in asked:
        places.setdefault(level, []).append(tuple(place))
    rows = [[phase // s for _ in range(2) for phase in range(0, 4, s)] for s in (1, 2, 4)]
    expected = [
        [(i, j) for i in rows for j in range(12 // s)]
        for s, rows in zip((1, 2, 4), rows, strict=True)
    ]
    assert sorted(places.values(), key=len, reverse=True) == expected


def test_as_many_numbers_are_kept_as_memory_is_reckoned_with():
    conditionals = random_conditionals((3, 4, 64), 256, scales=3)

    def storages(thing):
        if isinstance(thing, torch.Tensor):
            return {thing.untyped_storage().data_ptr(): thing.untyped_storage().nbytes() // 4}
        parts = thing if isinstance(thing, list | tuple) else vars(thing).values()
        found = {}
        for part in parts:
            if isinstance(part, torch.Tensor | list | tuple) or hasattr(part, "__dict__"):
                found |= storages(part)
        return found

    def kept(n):
        with torch.no_grad():
            cache = CachedNetwork(conditionals.network, torch.zeros(n, 3, 4, 64), None)
        return sum(storages(cache).values())

    assert (kept(3) - kept(2)) == pytest.approx(conditionals.cached, rel=0.05)


def test_threads_are_as_many_afterwards_as_before():
    conditionals = random_conditionals((1, 4, 4), 5, scales=1)
    threads = torch.get_num_threads()

    conditionals.draw(torch.rand(2, *conditionals.noise_shape), torch.zeros(2, 1, 4, 4))

    assert torch.get_num_threads() == threads
