"""Where cells run: worker processes of this machine, one cell each, so a crash is one cell's.

Cells that train together share a process for that, and are measured each in its own.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.plan import Plan

PRELOADED = (
    "torch",
    "torch._dynamo",  # seconds, else in every cell: the first step of an optimiser imports it
    "scipy.optimize",
    "sklearn.cluster",
    "sklearn.neighbors",
    "torch_fidelity",
    "ot",
    "benchmark.run",
)
PROGRESS_SECONDS = 0.25


@dataclass(frozen=True)
class Outcome:
    """How one cell ended: `failure` is None where its results are stored."""

    plan: Plan
    failure: str | None
    seconds: float


@dataclass
class _Worker:
    plans: Sequence[Plan]
    process: Any
    messages: Connection
    started: float = field(default_factory=time.monotonic)
    error: str | None = None


Watch = Callable[[Sequence[Plan], str, int, int], None]


def run_all(groups: Sequence[Sequence[Plan]], workers: int, watch: Watch) -> Iterator[Outcome]:
    """Runs cells side by side, in their order, and yields each as it ends.

    Args:
        groups: the cells; those of one group train together.
        workers: how many run at once, each on one thread.
        watch: told of progress: plans, stage, step, total.
    """
    context = multiprocessing.get_context("forkserver")
    modules = {plan.identity.factory.rpartition(":")[0] for plans in groups for plan in plans}
    context.set_forkserver_preload([*PRELOADED, *sorted(m for m in modules if m[-3:] != ".py")])
    waiting = list(groups)
    running: dict[Connection, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                worker = _start(context, waiting.pop(0))
                running[worker.messages] = worker
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                worker = running[ready]
                if not _receive(worker, watch):
                    del running[ready]
                    failure = _failure(worker)
                    if failure is None and len(worker.plans) > 1:
                        waiting[:0] = [[plan] for plan in worker.plans]
                    else:
                        seconds = time.monotonic() - worker.started
                        yield from (Outcome(plan, failure, seconds) for plan in worker.plans)
    finally:
        for worker in running.values():
            worker.process.kill()


def _start(context: Any, plans: Sequence[Plan]) -> _Worker:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(plans, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(plans, process, ours)


def _receive(worker: _Worker, watch: Watch) -> bool:
    """Takes one message; False once the worker has closed its end."""
    try:
        kind, *message = worker.messages.recv()
    except (EOFError, OSError):
        return False
    if kind == "error":
        worker.error = message[0]
    else:
        watch(worker.plans, *message)
    return True


def _failure(worker: _Worker) -> str | None:
    """Why the worker that has ended did not do its work."""
    worker.process.join()
    code = worker.process.exitcode
    if worker.error is None and code != 0:
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"its process died ({how}): run the same command again to go on"
    return worker.error


def _work(plans: Sequence[Plan], messages: Connection) -> None:
    """The body of a worker process: one cell, or the training of a group."""
    import torch
    from threadpoolctl import threadpool_limits

    from benchmark.run import failure_of, run_cell
    from benchmark.training import train_group

    threading.Thread(target=_die_with_parent, daemon=True).start()
    # The sum of floats depends on how many threads share it, and workers whose threads outnumber
    # the cores wait for each other.
    torch.set_num_threads(1)
    threadpool_limits(1)
    last = 0.0

    def progress(stage: str, step: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_SECONDS or step == total:
            last = time.monotonic()
            with suppress(OSError):
                messages.send(("progress", stage, step, total))

    try:
        if len(plans) > 1:
            failure = train_group(plans, progress)
        else:
            failure = failure_of(run_cell(plans[0], progress))
        if failure:
            messages.send(("error", failure))
    except UserError as error:
        messages.send(("error", str(error)))
    except OSError as error:
        place = error.filename or plans[0].work
        messages.send(("error", f"{error.strerror or error}: {place}"))
    messages.close()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps two runs from writing the same cells.

    Raises:
        UserError: another run holds the folder.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is at work in {folder}: wait for it, or give --runs another folder"
            ) from error
        yield
