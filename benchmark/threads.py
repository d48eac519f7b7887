"""How many threads torch may use, where another library does the heavy products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """Leaves the cores to numpy's and scipy's products.

    Threads of torch wait for more work by spinning: after each elementwise operation of torch
    they keep a core busy for milliseconds, in which a product of numpy runs at half its speed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
