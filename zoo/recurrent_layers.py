"""LSTMs that run over the rows or the diagonals of an image, each row or diagonal in one step."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.masked_layers import CausalLayer, windows

NEIGHBOURS = 3  # in the row above, that a Row LSTM sees


class RowLSTM(CausalLayer):
    """Runs down the rows: a state sees three states of the row above, its cell the one above it.

    Its inputs are the gates as far as they depend on the image, [n, 4 h, H, W].

    Args:
        features: of a state (h).

    Source: van den Oord et al. 2016, arXiv:1601.06759, section 3.1 and eq. 3.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features, self.kept = features, 7 * features
        self.weight = nn.Parameter(state_weight(NEIGHBOURS * features, features))

    def forward(self, gates: Tensor) -> Tensor:
        state = cell = gates.new_zeros(len(gates), gates.shape[3], self.features)
        states = []
        for row in gates.permute(2, 0, 3, 1):
            state, cell = lstm(row + self.from_above(state), cell)
            states.append(state)
        return torch.stack(states, dim=1).permute(0, 3, 1, 2)

    def from_above(self, state: Tensor) -> Tensor:
        """What the states [n, W, h] of a row add to the gates [n, W, 4 h] of the next one."""
        side = NEIGHBOURS // 2
        seen = windows(functional.pad(state, (0, 0, side, side)).unsqueeze(1), NEIGHBOURS)
        return (seen @ self.weight).unflatten(0, state.shape[:2])

    def walk(self, n: int, width: int) -> "RowWalk":
        return RowWalk(self, n, width)


class RowWalk:
    """A Row LSTM on its way: the states of a row act on the next one all at once."""

    def __init__(self, layer: RowLSTM, n: int, width: int) -> None:
        self.layer = layer
        self.state = layer.weight.new_zeros(n, width, layer.features)
        self.cell, self.cell_above = torch.zeros_like(self.state), torch.zeros_like(self.state)

    def next_row(self) -> None:
        self.from_above = self.layer.from_above(self.state)
        self.cell_above.copy_(self.cell)

    def __call__(self, column: int, gates: Tensor, /) -> Tensor:
        told = gates + self.from_above[:, column]
        self.state[:, column], self.cell[:, column] = lstm(told, self.cell_above[:, column])
        return self.state[:, column]


class DiagonalBiLSTM(CausalLayer):
    """Runs along the rows from both sides: a state sees the one beside it and the one above it.

    States that came from the right are moved down by a row before the two are added, since what
    is to the right in the same row comes later. A skewed image has its diagonals as columns.

    Its inputs are the gates as far as they depend on the image, [n, 8 h, H, W]: those of the
    states that come from the left, then the others.

    Args:
        features: of a state (h).

    Source: van den Oord et al. 2016, arXiv:1601.06759, section 3.2 and figure 3.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features, self.kept = features, 11 * features
        weights = [state_weight(2 * features, features) for _ in range(2)]
        self.weight = nn.Parameter(torch.stack(weights))  # [2, beside and above, 4 h]

    def forward(self, gates: Tensor) -> Tensor:
        n, _, height, width = gates.shape
        left, right = gates.chunk(2, dim=1)
        skewed = skew(torch.stack([left, right.flip(3)]))  # [2, n, 4 h, H, diagonals]
        state = cell = gates.new_zeros(2, n, height, self.features)
        states = []
        for diagonal in skewed.permute(4, 0, 1, 3, 2).flatten(2, 3).contiguous():
            above = functional.pad(state[:, :, :-1], (0, 0, 1, 0))
            seen = torch.cat([state, above], dim=3).flatten(1, 2)
            told = torch.baddbmm(diagonal, seen, self.weight)
            state, cell = lstm(told.unflatten(1, (n, height)), cell)
            states.append(state)
        from_left, from_right = unskew(torch.stack(states).permute(1, 2, 4, 3, 0), width)
        return from_left + functional.pad(from_right.flip(3)[:, :, :-1], (0, 0, 1, 0))

    def walk(self, n: int, width: int) -> "DiagonalWalk":
        return DiagonalWalk(self, n, width)


class DiagonalWalk:
    """A Diagonal BiLSTM on its way: the states from the right follow when a row is complete."""

    def __init__(self, layer: DiagonalBiLSTM, n: int, width: int) -> None:
        features = layer.features
        self.weight = layer.weight.unflatten(1, (2, features))  # [2, beside or above, h, 4 h]
        self.left = layer.weight.new_zeros(n, width + 1, features)  # a state before the first
        self.left_cell = torch.zeros_like(self.left)
        self.right = torch.zeros_like(self.left[:, 1:])
        self.right_gates = layer.weight.new_zeros(n, width, 4 * features)

    def next_row(self) -> None:
        self.from_above = self.left[:, 1:] @ self.weight[0, 1]
        self._follow_from_right()

    def _follow_from_right(self) -> None:
        """Takes the states from the right down to the row that was completed."""
        gates = self.right_gates + self.right @ self.weight[1, 1]
        state = cell = torch.zeros_like(self.right[:, 0])
        for column in reversed(range(gates.shape[1])):
            state, cell = lstm(torch.addmm(gates[:, column], state, self.weight[1, 0]), cell)
            self.right[:, column] = state

    def __call__(self, column: int, gates: Tensor, /) -> Tensor:
        left, self.right_gates[:, column] = gates.chunk(2, dim=1)
        told = torch.addmm(
            left + self.from_above[:, column], self.left[:, column], self.weight[0, 0]
        )
        state, cell = lstm(told, self.left_cell[:, column])
        self.left[:, column + 1], self.left_cell[:, column + 1] = state, cell
        return state + self.right[:, column]


def state_weight(seen: int, features: int) -> Tensor:
    """First weights from neighbouring states to gates, [seen, 4 features]."""
    return torch.randn(seen, 4 * features) * seen**-0.5


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next state and cell [..., h], from gates [..., 4 h] (output, forget, input, content)."""
    features = cell.shape[-1]
    opened = gates[..., : 3 * features].sigmoid()
    output, forget, entry = opened.chunk(3, dim=-1)
    cell = forget * cell + entry * gates[..., 3 * features :].tanh()
    return output * cell.tanh(), cell


def skew(x: Tensor) -> Tensor:
    """Moves row r to the right by r: [..., H, W] -> [..., H, W + H - 1], zeros elsewhere.

    Source: van den Oord et al. 2016, arXiv:1601.06759, figure 3.
    """
    height, width = x.shape[-2:]
    flat = functional.pad(x, (0, height)).flatten(-2)
    return flat[..., : height * (width + height - 1)].unflatten(-1, (height, width + height - 1))


def unskew(x: Tensor, width: int) -> Tensor:
    """Undoes `skew`: [..., H, W + H - 1] -> [..., H, W]."""
    height = x.shape[-2]
    flat = functional.pad(x.flatten(-2), (0, height))
    return flat.unflatten(-1, (height, width + height))[..., :width]
