"""How many threads small operations get."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2**20  # multiplications, of which a core makes some billions a second


@contextmanager
def threads_for(multiplications: int) -> Iterator[None]:
    """Gives operations of this size one thread if they are small, and else those there are.

    Threads wait for each other after every operation. Where an operation takes microseconds they
    gain little, and lose a thousandfold if another program holds one of the cores meanwhile.
    """
    threads = torch.get_num_threads()
    if multiplications < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
