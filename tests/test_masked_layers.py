import pytest
import torch
from torch.nn import functional

from zoo.masked_layers import MaskedConv, RowConv, RowConvWalk, groups, windows


def test_features_are_shared_among_the_channels_in_order():
    assert groups(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert groups(4, 3).tolist() == [0, 0, 1, 2]
    with pytest.raises(ValueError, match="2 filters cannot be shared among 3 channels"):
        groups(2, 3)


@pytest.mark.parametrize(("strict", "own_channel"), [(True, False), (False, True)])
def test_masks_a_and_b_differ_in_the_own_channel_only(strict, own_channel):
    convolution = MaskedConv(groups(3, 3), groups(6, 3), (2, 3), strict=strict)

    above, row = convolution.mask[:, :, 0], convolution.mask[:, :, 1]

    assert (above == 1).all()
    assert (row[:, :, 0] == 1).all()
    assert (row[:, :, 2] == 0).all()
    for output, channel in enumerate((0, 0, 1, 1, 2, 2)):
        seen = [c < channel or (c == channel and own_channel) for c in range(3)]
        assert row[output, :, 1].tolist() == seen


def test_first_outputs_vary_as_inputs_do_however_many_are_hidden():
    convolution = MaskedConv(groups(30, 3), groups(90, 3), (2, 3), gain=2.0)
    with torch.no_grad():
        outputs = convolution(torch.randn(20, 30, 12, 12))[:, :, 1:, 1:-1]
    assert (outputs.std(dim=(0, 2, 3)) / 2).tolist() == pytest.approx([1] * 90, abs=0.35)


@pytest.mark.parametrize("kernel", [(1, 1), (1, 5), (2, 3), (4, 7)])
def test_walks_give_what_whole_images_give(kernel):
    convolution = MaskedConv(groups(2, 2), groups(4, 2), kernel)
    with torch.no_grad():
        convolution.bias.normal_()
    x = torch.randn(3, 2, 6, 5)
    walk = convolution.walk(3, 5)

    with torch.no_grad():
        whole = convolution(x)
        for row in range(6):
            walk.next_row()
            for column in range(5):
                walk(column, torch.randn(3, 2))  # the last call for a pixel counts
                walked = walk(column, x[:, :, row, column])
                torch.testing.assert_close(walked, whole[:, :, row, column])


def test_a_walk_shows_what_it_saw_of_the_current_row():
    walk, x = MaskedConv(groups(2, 2), groups(4, 2), (2, 3)).walk(3, 5), torch.randn(3, 5, 2)
    for row in (x + 1, x):
        walk.next_row()
        for column, pixel in enumerate(row.unbind(dim=1)):
            walk.see(column, pixel)
    assert torch.equal(walk.row(), x)


def test_rows_are_convolved_one_by_one_as_all_at_once():
    convolution = RowConv(2, 3, (3, 5))
    x = torch.randn(4, 2, 6, 7)
    walk = RowConvWalk(convolution, 4, 7)

    rows = [walk(row) for row in x.split(1, dim=2)]

    torch.testing.assert_close(torch.cat(rows, dim=2), convolution(x))


def test_windows_are_what_a_kernel_lies_on():
    rows, weight = torch.randn(2, 3, 9, 4), torch.randn(5, 4, 3, 5)
    expected = functional.conv2d(rows.permute(0, 3, 1, 2), weight)[:, :, 0]  # [2, 5, places]

    found = windows(rows, 5) @ weight.permute(2, 3, 1, 0).flatten(0, 2)

    torch.testing.assert_close(found.view(2, 5, 5).transpose(1, 2), expected)
