"""Where cells run: worker processes of this machine, one cell each, so a crash is one cell's."""

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
from benchmark.run import Plan

PRELOADED = (
    "torch",
    "scipy.optimize",
    "sklearn.cluster",
    "sklearn.neighbors",
    "torch_fidelity",
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
    plan: Plan
    process: Any
    messages: Connection
    started: float = field(default_factory=time.monotonic)
    error: str | None = None


Watch = Callable[[Plan, str, int, int], None]


def run_all(plans: Sequence[Plan], workers: int, watch: Watch) -> Iterator[Outcome]:
    """Runs cells side by side, in their order, and yields each as it ends.

    Args:
        plans: the cells.
        workers: how many run at once, each on one thread.
        watch: told of progress: plan, stage, step, total.
    """
    context = multiprocessing.get_context("forkserver")
    modules = {plan.identity.factory.rpartition(":")[0] for plan in plans}
    context.set_forkserver_preload([*PRELOADED, *sorted(m for m in modules if m[-3:] != ".py")])
    waiting = list(plans)
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
                    yield _ended(worker)
    finally:
        for worker in running.values():
            worker.process.kill()


def _start(context: Any, plan: Plan) -> _Worker:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(plan, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(plan, process, ours)


def _receive(worker: _Worker, watch: Watch) -> bool:
    """Takes one message; False once the worker has closed its end."""
    try:
        kind, *message = worker.messages.recv()
    except (EOFError, OSError):
        return False
    if kind == "error":
        worker.error = message[0]
    else:
        watch(worker.plan, *message)
    return True


def _ended(worker: _Worker) -> Outcome:
    worker.process.join()
    code = worker.process.exitcode
    failure = worker.error
    if failure is None and code != 0:
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        failure = f"its process died ({how}): run the same command again to go on"
    return Outcome(worker.plan, failure, time.monotonic() - worker.started)


def _work(plan: Plan, messages: Connection) -> None:
    """The body of a worker process."""
    import torch

    from benchmark.run import run_cell

    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # the sum of floats depends on how many threads share it
    last = 0.0

    def progress(stage: str, step: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_SECONDS or step == total:
            last = time.monotonic()
            with suppress(OSError):
                messages.send(("progress", stage, step, total))

    try:
        cell = run_cell(plan, progress)
        failed = [r for r in cell.results if r.status == "failed"]
        if cell.failure:
            messages.send(("error", cell.failure))
        elif failed:
            messages.send(("error", f"{failed[0].question.metric}: {failed[0].reason}"))
    except UserError as error:
        messages.send(("error", str(error)))
    except OSError as error:
        messages.send(("error", f"{error.strerror or error}: {error.filename or plan.work}"))
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
