"""Recording on a GPU, played on a tape: operations are noted, and done again in their memory."""

import pytest
import torch
from pixel_models import FAMILIES, random_model
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import categorical, pixelcnn_pp, recorded
from zoo.naive_sampling import draw_naively
from zoo.pixelcnn_pp import PixelCNNpp
from zoo.recorded import Recorded

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Tape(TorchDispatchMode):
    """Stands for a recorded graph. It does what it records, so its first replay is no work."""

    def __init__(self):
        super().__init__()
        self.notes, self.replays = [], 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation != torch.ops.aten._local_scalar_dense.default, "this waits for the GPU"
        found = operation(*args, **(kwargs or {}))
        self.notes.append((operation, args, kwargs or {}, found))
        return found

    def replay(self):
        self.replays += 1
        if self.replays > 1:
            for note in self.notes:
                self.do_again(*note)

    def do_again(self, operation, args, kwargs, found):
        again = operation(*args, **kwargs)
        if operation.is_view or any(a.is_write for a in writes(operation)):
            return
        for old, new in zip(tensors(found), tensors(again), strict=True):
            old.copy_(new)


def writes(operation):
    return [a.alias_info for a in operation._schema.arguments if a.alias_info]


def tensors(found):
    parts = found if isinstance(found, tuple | list) else [found]
    return [part for part in parts if isinstance(part, torch.Tensor)]


@pytest.fixture
def tapes(monkeypatch):
    made = []

    def new():
        made.append(Tape())
        return made[-1]

    monkeypatch.setattr(recorded.torch.cuda, "CUDAGraph", new)
    monkeypatch.setattr(recorded.torch.cuda, "graph", lambda tape: tape)
    return made


def test_a_kind_runs_first_is_recorded_then_and_replayed_from_then_on(tapes):
    work, total = Recorded(GPU), torch.zeros(2)
    calls = []

    def add(place):
        calls.append(place)
        total[place] += 1

    for _ in range(5):
        work("first", lambda: add(0))
    work("second", lambda: add(1))

    assert calls == [0, 0, 1]
    assert total.tolist() == [5, 1]
    assert [tape.replays for tape in tapes] == [4]


def test_a_processor_does_the_work_itself(tapes):
    work, calls = Recorded(CPU), []

    for number in range(4):
        work("any", lambda number=number: calls.append(number))

    assert calls == [0, 1, 2, 3]
    assert not tapes


def draws_as_the_naive_loop_does(conditionals, shape, rows, labels=None):
    uniform, known = torch.rand(3, *conditionals.noise_shape), torch.zeros(3, *shape)
    with torch.no_grad():
        known = draw_naively(conditionals, uniform.roll(1, 0), known, 0, labels)
        naive = draw_naively(conditionals, uniform, known, rows, labels)
        cached = conditionals.draw(uniform, known, rows, labels)
    assert len(cached.unique()) > 3
    return torch.equal(cached, naive)


def on_a_gpu(device):
    return Recorded(GPU)


@pytest.mark.parametrize(("scales", "rows"), [(1, 0), (1, 3), (2, 3), (3, 0)])
def test_pixelcnn_pp_draws_the_same_when_its_rows_are_recorded(scales, rows, tapes, monkeypatch):
    monkeypatch.setattr(pixelcnn_pp, "Recorded", on_a_gpu)
    shape = (3, 12, 4)
    model = random_model(PixelCNNpp, shape, 9, scales=scales, mixtures=3, classes=2)
    labels = torch.tensor([1, 0, 1])

    assert draws_as_the_naive_loop_does(model.conditionals, shape, rows, labels)

    phases = 2 ** (scales - 1)
    assert len(tapes) >= phases
    assert sum(tape.replays for tape in tapes) >= 12 - 2 * phases


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [0, 3])
def test_the_other_families_draw_the_same_when_their_rows_are_recorded(
    family, rows, tapes, monkeypatch
):
    monkeypatch.setattr(categorical, "Recorded", on_a_gpu)
    shape = (2, 8, 5)
    model = random_model(FAMILIES[family], shape, 4)

    assert draws_as_the_naive_loop_does(model.conditionals, shape, rows)

    assert len(tapes) == (2 if rows else 1)
    assert sum(tape.replays for tape in tapes) == 8 - len(tapes)


def test_work_that_moves_its_memory_would_be_seen(tapes):
    kept = [torch.zeros(2)]
    work = Recorded(GPU)

    def forgetful():
        kept[0] = kept[0] + 1

    for _ in range(5):
        work("any", forgetful)

    assert kept[0].tolist() != [5, 5]
