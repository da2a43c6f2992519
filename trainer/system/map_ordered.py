"""A lazy map over worker processes: results in order, and a process that dies loses only one item.

`map_unordered` is for work that must succeed as a whole. Here, chunks are read only as results are consumed, so that
the input may have any length.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from trainer.system.parallel import ProcessDied, receive, send, start_worker, stop_workers

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result]]

CHUNKS_PER_PROCESS = 4  # submitted chunks whose results have not been consumed
POLL_SECONDS = 0.2


def map_ordered(
    work: Work[Item, Result],
    chunks: Iterable[Sequence[Item]],
    lost: Callable[[int], Result],
    *,
    processes: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Sequence[Item], list[Result]], None, None]:
    """Yield each chunk with one result per item.

    If a process dies, the items of its chunk are retried one at a time; for an item that kills its process again,
    `lost` makes the result from the exit code. The generator ends early once `stopped` returns true.
    """
    waiting = enumerate(chunks)
    idle: list[_WorkerSlot[Item, Result]] = []
    busy: dict[Connection, _WorkerSlot[Item, Result]] = {}
    done: dict[int, _Task[Item, Result]] = {}
    submitted = consumed = 0
    try:
        while not stopped():
            while (idle or len(busy) < processes) and submitted - consumed < CHUNKS_PER_PROCESS * processes:
                if (numbered := next(waiting, None)) is None:
                    break
                slot = idle.pop() if idle else _WorkerSlot(*start_worker(work))
                slot.begin(_Task(*numbered))
                busy[slot.connection] = slot
                submitted += 1
            if not busy:
                return
            for ready in wait(list(busy), POLL_SECONDS):
                assert isinstance(ready, Connection)
                slot = busy.pop(ready)
                if slot.advance(work, lost):
                    done[slot.task.number] = slot.task
                    idle.append(slot)
                else:
                    busy[slot.connection] = slot
            while consumed in done:
                task = done.pop(consumed)
                consumed += 1
                yield task.chunk, task.results
    finally:
        stop_workers({slot.connection: slot.process for slot in [*idle, *busy.values()]})


@dataclass
class _Task(Generic[Item, Result]):
    number: int
    chunk: Sequence[Item]
    results: list[Result] = field(default_factory=list)
    one_by_one: bool = False


class _WorkerSlot(Generic[Item, Result]):
    """A worker process with its current chunk. A process that dies is replaced."""

    task: _Task[Item, Result]

    def __init__(self, connection: Connection, process: BaseProcess) -> None:
        self.connection, self.process = connection, process

    def begin(self, task: _Task[Item, Result]) -> None:
        self.task = task
        send(self.connection, task.chunk)

    def advance(self, work: Work[Item, Result], lost: Callable[[int], Result]) -> bool:
        """Receive the next results, or replace the process if it died. True once the chunk is done."""
        task = self.task
        try:
            task.results += receive(self.connection, self.process, task.chunk)
        except ProcessDied as death:
            if task.one_by_one:
                task.results.append(lost(death.detail["exit_code"]))
            task.one_by_one = True
            stop_workers({self.connection: self.process})
            self.connection, self.process = start_worker(work)
        rest: Any = task.chunk[len(task.results) :]
        if rest:
            send(self.connection, rest[:1])
        return not rest
