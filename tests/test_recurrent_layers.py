"""Rows and diagonals in one step each, against the equations one pixel at a time."""

import pytest
import torch
from torch import nn

from zoo.recurrent_layers import DiagonalBiLSTM, RowLSTM, lstm, skew, unskew

N, FEATURES, HEIGHT, WIDTH = 2, 3, 4, 5


def test_a_step_is_torchs_lstm_with_its_gates_in_another_order():
    cell = nn.LSTMCell(4, FEATURES, dtype=torch.float64)
    x, state, memory = (torch.randn(N, size).double() for size in (4, FEATURES, FEATURES))
    gates = x @ cell.weight_ih.T + cell.bias_ih + state @ cell.weight_hh.T + cell.bias_hh
    entry, forget, content, output = gates.chunk(4, dim=1)

    found = lstm(torch.cat([output, forget, entry, content], dim=1), memory)

    for ours, theirs in zip(found, cell(x, (state, memory)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_skewing_moves_each_row_by_its_number():
    x = torch.arange(1.0, 13).view(1, 3, 4)
    expected = [[1, 2, 3, 4, 0, 0], [0, 5, 6, 7, 8, 0], [0, 0, 9, 10, 11, 12]]

    assert torch.equal(skew(x), torch.tensor([expected]).float())
    assert torch.equal(unskew(skew(x), 4), x)


def zeros():
    return torch.zeros(N, FEATURES).double(), torch.zeros(N, FEATURES).double()


def row_lstm_by_pixels(layer, gates):
    kernel = layer.weight.view(3, FEATURES, 4 * FEATURES)  # left, middle and right above
    found = {}
    for row in range(HEIGHT):
        for column in range(WIDTH):
            told = gates[:, :, row, column].clone()
            for weight, place in zip(kernel, range(column - 1, column + 2), strict=True):
                told += found.get((row - 1, place), zeros())[0] @ weight
            found[row, column] = lstm(told, found.get((row - 1, column), zeros())[1])
    return found


def lstm_from_a_side(weight, gates, columns):
    beside, above = weight.view(2, FEATURES, 4 * FEATURES)
    found = {}
    for row in range(HEIGHT):
        state, cell = zeros()
        for column in columns:
            told = gates[:, :, row, column] + state @ beside
            told = told + found.get((row - 1, column), zeros())[0] @ above
            state, cell = found[row, column] = lstm(told, cell)
    return found


def diagonal_bilstm_by_pixels(layer, gates):
    left, right = gates.split(4 * FEATURES, dim=1)
    from_left = lstm_from_a_side(layer.weight[0], left, range(WIDTH))
    from_right = lstm_from_a_side(layer.weight[1], right, range(WIDTH - 1, -1, -1))
    return {
        (row, column): (state + from_right.get((row - 1, column), zeros())[0],)
        for (row, column), (state, _) in from_left.items()
    }


@pytest.mark.parametrize(
    ("kind", "directions", "by_pixels"),
    [(RowLSTM, 1, row_lstm_by_pixels), (DiagonalBiLSTM, 2, diagonal_bilstm_by_pixels)],
)
def test_whole_images_and_walks_give_what_the_equations_give_pixel_by_pixel(
    kind, directions, by_pixels
):
    layer = kind(FEATURES).double()
    gates = torch.randn(N, 4 * directions * FEATURES, HEIGHT, WIDTH).double()
    whole, expected = layer(gates), by_pixels(layer, gates)
    walk = layer.walk(N, WIDTH)

    with torch.no_grad():
        for row in range(HEIGHT):
            walk.next_row()
            for column in range(WIDTH):
                walk(column, torch.randn_like(gates[:, :, 0, 0]))  # the last call counts
                walked = walk(column, gates[:, :, row, column])
                torch.testing.assert_close(whole[:, :, row, column], expected[row, column][0])
                torch.testing.assert_close(walked, expected[row, column][0])
