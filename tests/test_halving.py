import pytest
import torch

from zoo.halving import in_parts


def doubling_at_most(fitting, message="[enforce fail] DefaultCPUAllocator: can't allocate memory"):
    sizes = []

    def compute(x, y):
        sizes.append(len(x))
        if len(x) > fitting:
            raise RuntimeError(message)
        return 2 * x + y

    return compute, sizes


def test_batches_are_split_and_joined_in_order():
    compute, sizes = doubling_at_most(9)
    x, y = torch.randn(2, 10, 3)
    assert torch.equal(in_parts(compute, [x, y], 4), 2 * x + y)
    assert sizes == [4, 4, 2]


def test_an_empty_batch_is_computed_too():
    compute, sizes = doubling_at_most(9)
    assert in_parts(compute, [torch.zeros(0, 3), torch.zeros(0, 3)], 4).shape == (0, 3)
    assert sizes == [0]


def test_a_part_too_large_for_memory_is_halved_with_a_message():
    compute, sizes = doubling_at_most(3)
    x, y = torch.randn(2, 10, 3)
    with pytest.warns(UserWarning, match="a batch does not fit in memory: halved to") as said:
        assert torch.equal(in_parts(compute, [x, y], 1_000), 2 * x + y)
    assert [str(one.message)[-1] for one in said] == ["5", "3"]
    assert sizes == [10, 5, 3, 3, 3, 1]


def test_what_an_accelerator_says_counts_as_well():
    def compute(x):
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x

    with pytest.warns(UserWarning, match="halved to 1"):
        assert in_parts(compute, [torch.arange(2)], 2).tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore:a batch does not fit")
@pytest.mark.parametrize(("fitting", "message"), [(0, "can't allocate memory"), (3, "singular")])
def test_other_errors_and_single_examples_that_do_not_fit_are_told(fitting, message):
    compute, _ = doubling_at_most(fitting, message)
    x, y = torch.randn(2, 10, 3)
    with pytest.raises(RuntimeError, match=message):
        in_parts(compute, [x, y], 10)
