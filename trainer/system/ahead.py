"""A stream that a thread runs ahead of its taker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")


def ahead(make: Callable[[Callable[[], bool]], Generator[Item, None, None]], count: int) -> Generator[Item, None, None]:
    """The items of the generator that `make` gives, up to `count` of them made while the taker is busy.

    `make` is handed a function that tells when the taker has left: the generator should end soon then.
    """
    left = threading.Event()
    with closing(make(left.is_set)) as items, ThreadPoolExecutor(1, "ahead") as thread:
        made: deque[Future[Item | None]] = deque(thread.submit(next, items, None) for _ in range(count))
        try:
            while (item := made.popleft().result()) is not None:
                made.append(thread.submit(next, items, None))
                yield item
        finally:
            left.set()
            thread.shutdown(cancel_futures=True)
