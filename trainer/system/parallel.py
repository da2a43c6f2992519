"""Maps work over a pool of worker processes.

The processes are spawned, not forked, so that they inherit no locks or threads of their parent. They exit when it does,
because each waits on a pipe whose other end only the parent holds.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

from trainer.errors import TrainerError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


class ProcessDied(TrainerError):
    """A worker process was killed, for lack of memory or by a crash in a decoder."""

    code = "process_died"


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_unordered(
    work: Callable[[Chunk], Result], chunks: Sequence[Chunk], *, processes: int
) -> Iterator[tuple[Chunk, Result]]:
    """Yield each chunk with its result, in order of completion. With one process, the work is done in this one.

    `work` and the chunks are pickled, `work` once per process. Raises what `work` raises, and ProcessDied.
    """
    if min(processes, len(chunks)) <= 1:
        for chunk in chunks:
            yield chunk, work(chunk)
        return
    workers: dict[Connection, BaseProcess] = {}
    assigned: dict[Connection, Chunk] = {}
    waiting = iter(chunks)
    try:
        for chunk in islice(waiting, processes):
            connection, process = start_worker(work)
            workers[connection] = process
            assigned[connection] = chunk
            send(connection, chunk)
        while assigned:
            for ready in wait(list(assigned)):
                assert isinstance(ready, Connection)
                chunk = assigned.pop(ready)
                result = receive(ready, workers[ready], chunk)
                for following in islice(waiting, 1):
                    assigned[ready] = following
                    send(ready, following)
                yield chunk, result
    finally:
        stop_workers(workers)


def start_worker(work: Callable[[Any], Any]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    resource_tracker.ensure_running()  # it unblocks SIGINT when it is started
    # The child inherits the mask: Ctrl-C while it starts would end it with a traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _interrupted_later():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let Ctrl-C take effect at the end: a child whose start is broken off ends with a traceback.

    The mask is this thread's alone: another thread, such as that of a progress bar, may be sent the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught and callable(handler):
            handler(*caught[0])


def _serve(connection: Connection, work: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    try:
        while True:
            chunk = connection.recv()
            try:
                answer = (True, work(chunk))
            except Exception as error:  # noqa: BLE001 - top level of the process: raised in the parent
                answer = (False, error)
            connection.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is done, or has exited


def send(connection: Connection, chunk: Any) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it died: `receive` raises
        connection.send(chunk)


def receive(connection: Connection, process: BaseProcess, chunk: Any) -> Any:
    """Return the result for `chunk`. Raises what the work raised, and ProcessDied."""
    try:
        succeeded, value = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        raise ProcessDied(
            "A helping process died; perhaps there was not enough memory.",
            detail={"exit_code": process.exitcode, "files": getattr(chunk, "paths", [])},
        ) from None
    if not succeeded:
        raise value
    return value


def stop_workers(workers: dict[Connection, BaseProcess]) -> None:
    for connection, process in workers.items():
        connection.close()
        process.terminate()
    for process in workers.values():
        process.join()
        process.close()
