"""Several networks of one architecture as one, so that a GPU need not wait for each in turn."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap


class Together(nn.Module):
    """S networks of one architecture, applied to S batches at once: [S, n, ...] -> [S, n, ...].

    The parameters are copies, stacked along a new first axis: the given networks stay as they
    are until `write_back`. Gradients of a sum over S are those of each network alone, and dropout
    draws for each on its own. Buffers are read and never written, so there can be no batch
    normalisation.

    Args:
        networks: S of them, equal but for the values of their parameters and buffers.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if not networks:
            raise ValueError("networks must hold at least one network")
        self._networks = tuple(networks)  # a tuple is no submodule: their own weights are not ours
        parameters, buffers = stack_module_state(list(networks))
        self._names = {name: _attribute(name) for name in (*parameters, *buffers)}
        self._parameter_names = tuple(parameters)
        for name, stack in parameters.items():
            self.register_parameter(_attribute(name), nn.Parameter(stack.detach()))
        for name, stack in buffers.items():
            self.register_buffer(_attribute(name), stack)
        self._places = tuple(_places(networks[0]))

    def __len__(self) -> int:
        return len(self._networks)

    def forward(self, x: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Applies network s to x[s].

        Args:
            x: [S, n, ...].
            parameters: {name: [S, ...]} to compute with in place of the own ones: unrolled or
                normalised weights. Names that are left out keep their own.
        """
        state = {name: getattr(self, attribute) for name, attribute in self._names.items()}
        state.update(parameters or {})
        if len(self) == 1:
            alone = {name: stack.squeeze(0) for name, stack in state.items()}
            return self._apply_one(alone, x.squeeze(0)).unsqueeze(0)
        return vmap(self._apply_one, randomness="different")(state, x)

    def stacked(self) -> dict[str, Tensor]:
        """{name: parameter [S, ...]} under the networks' own names; leaves of the graph."""
        return {name: getattr(self, self._names[name]) for name in self._parameter_names}

    @torch.no_grad()
    def write_back(self) -> None:
        """Copies the parameters into the networks that this was made from."""
        for name, stack in self.stacked().items():
            for network, value in zip(self._networks, stack.unbind(), strict=True):
                network.get_parameter(name).copy_(value)

    def train(self, mode: bool = True) -> "Together":
        for network in self._networks:
            network.train(mode)
        return super().train(mode)

    def _apply_one(self, state: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The first network's output for x [n, ...] with the tensors of `state` in its places.

        `torch.func.functional_call` does the same and looks for the places at every call, which
        takes a tenth of the time of training small networks.
        """
        own = [tensors[key] for _, tensors, key in self._places]
        for name, tensors, key in self._places:
            tensors[key] = state[name]
        try:
            return self._networks[0](x)
        finally:
            for (_, tensors, key), tensor in zip(self._places, own, strict=True):
                tensors[key] = tensor


def _places(network: nn.Module) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(name, the dictionary of its module, its key there) wherever a parameter or buffer is held.

    One that several modules share has the name of its first place in all of them.
    """
    named = chain(network.named_parameters(), network.named_buffers())
    names = {id(tensor): name for name, tensor in named}
    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    yield names[id(tensor)], tensors, key


def _attribute(name: str) -> str:
    return name.replace(".", "/")  # torch takes no dots in the names of parameters
