"""A stream of work over fresh processes, any of which may die of it: results in order, and a death costs one item.

`spread` is for work that is all or nothing. Here what comes next is asked for only as results are taken, so that a
stream may be as long as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from trainer.system.parallel import ProcessDied, dismiss, hire, receive, send

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result]]

CHUNKS_A_PROCESS = 4  # begun and not taken yet
LOOK_SECONDS = 0.2


def in_order(
    work: Work[Item, Result],
    chunks: Iterable[Sequence[Item]],
    lost: Callable[[int], Result],
    *,
    processes: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Sequence[Item], list[Result]], None, None]:
    """Yields each chunk with a result for each of its items.

    The items of a chunk that a process died at are tried again, one at a time; for one that a process dies at once
    more, `lost` makes the result, from the exit code. The stream ends early once `stopped`.
    """
    waiting = enumerate(chunks)
    idle: list[_Post[Item, Result]] = []
    busy: dict[Connection, _Post[Item, Result]] = {}
    done: dict[int, _Task[Item, Result]] = {}
    given = taken = 0
    try:
        while not stopped():
            while (idle or len(busy) < processes) and given - taken < CHUNKS_A_PROCESS * processes:
                if (numbered := next(waiting, None)) is None:
                    break
                post = idle.pop() if idle else _Post(*hire(work))
                post.begin(_Task(*numbered))
                busy[post.connection] = post
                given += 1
            if not busy:
                return
            for ready in wait(list(busy), LOOK_SECONDS):
                assert isinstance(ready, Connection)
                post = busy.pop(ready)
                if post.go_on(work, lost):
                    done[post.task.number] = post.task
                    idle.append(post)
                else:
                    busy[post.connection] = post
            while taken in done:
                task = done.pop(taken)
                taken += 1
                yield task.chunk, task.results
    finally:
        dismiss({post.connection: post.process for post in [*idle, *busy.values()]})


@dataclass
class _Task(Generic[Item, Result]):
    number: int
    chunk: Sequence[Item]
    results: list[Result] = field(default_factory=list)
    one_by_one: bool = False


class _Post(Generic[Item, Result]):
    """A process's place: one that dies is replaced."""

    task: _Task[Item, Result]

    def __init__(self, connection: Connection, process: BaseProcess) -> None:
        self.connection, self.process = connection, process

    def begin(self, task: _Task[Item, Result]) -> None:
        self.task = task
        send(self.connection, task.chunk)

    def go_on(self, work: Work[Item, Result], lost: Callable[[int], Result]) -> bool:
        """Take what the process has to say, even if it is nothing; whether the task is done."""
        task = self.task
        try:
            task.results += receive(self.connection, self.process, task.chunk)
        except ProcessDied as death:
            if task.one_by_one:
                task.results.append(lost(death.detail["exit_code"]))
            task.one_by_one = True
            dismiss({self.connection: self.process})
            self.connection, self.process = hire(work)
        rest: Any = task.chunk[len(task.results) :]
        if rest:
            send(self.connection, rest[:1])
        return not rest
