"""Stops the work for a client that has closed its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from app.errors import ApiError

T = TypeVar("T")

# Most answers take less, also on a busy machine: then nothing watches the connection, which costs a task per request.
WATCH_AFTER_SECONDS = 0.5


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; cancel it once the client has disconnected. The body must have been read.

    Raises ApiError 499, which nobody receives: the client has disconnected.
    """
    loop = asyncio.get_running_loop()
    watch: asyncio.Task[None] | None = None

    def start_watch() -> None:
        nonlocal watch
        watch = loop.create_task(_expire_on_disconnect(request, connected))

    timer = loop.call_later(WATCH_AFTER_SECONDS, start_watch)
    try:
        async with asyncio.timeout(None) as connected:
            return await work
    except TimeoutError:
        if connected.expired():
            raise ApiError(499, "client_disconnected", "The client closed the connection.") from None
        raise
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()


async def _expire_on_disconnect(request: Request, connected: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    connected.reschedule(asyncio.get_running_loop().time())
