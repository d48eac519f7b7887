"""Work over fixed memory, which a GPU records once and then replays as one graph."""

from collections.abc import Callable, Hashable

import torch


class Recorded:
    """Kinds of work that are done again and again; on a GPU each soon takes a single launch.

    Networks that run a pixel at a time are bound by launches there. The first time a kind runs as
    it is, so that libraries can set themselves up; the second time it is recorded. All that it
    reads from or leaves to others must lie in memory that was there before and stays where it is,
    and it must not wait for the GPU.

    Args:
        device: where the work runs; on another than a GPU nothing is recorded.
    """

    def __init__(self, device: torch.device) -> None:
        self._records = device.type == "cuda"
        self._seen: set[Hashable] = set()
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}

    def __call__(self, kind: Hashable, work: Callable[[], None]) -> None:
        """Does work of a kind; of one kind, all work does the same to the same memory."""
        if not self._records or kind not in self._seen:
            self._seen.add(kind)
            work()
            return
        if kind not in self._graphs:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                work()
            self._graphs[kind] = graph
        self._graphs[kind].replay()
