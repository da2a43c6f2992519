"""Runs a generator in a thread, some items ahead of its consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(
    make: Callable[[Callable[[], bool]], Generator[Item, None, None]], count: int
) -> Generator[Item, None, None]:
    """Yield the items of the generator that `make` returns; up to `count` are produced while the consumer is busy.

    `make` gets a function that returns true once the consumer has stopped; the generator should then end soon.
    """
    stopped = threading.Event()
    with closing(make(stopped.is_set)) as items, ThreadPoolExecutor(1, "prefetch") as thread:
        made: deque[Future[Item | None]] = deque(thread.submit(next, items, None) for _ in range(count))
        try:
            while (item := made.popleft().result()) is not None:
                made.append(thread.submit(next, items, None))
                yield item
        finally:
            stopped.set()
            thread.shutdown(cancel_futures=True)
