"""Modules whose state is estimated in closed form and takes its shape from the data."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from benchmark.spec import DataSpec


class Fitted(nn.Module):
    """A model without gradient training: buffers are filled by `fit` or by `load_state_dict`."""

    def __init__(self, spec: DataSpec, *names: str) -> None:
        super().__init__()
        self.spec = spec
        for name in names:
            self.register_buffer(name, None)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Takes the saved tensors as they are, whatever shape they have."""
        for name, value in state_dict.items():
            self.register_buffer(name, value)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def check_enough(asked: int, examples: Tensor, what: str) -> None:
    """Raises ValueError when more distinct examples are asked for than there are."""
    if asked > len(examples):
        raise ValueError(
            f"asked for {asked} {what} examples, there are {len(examples)}: lower --samples"
        )
