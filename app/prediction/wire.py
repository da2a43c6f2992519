"""Frames between the web process, the predictor and its decoders: a JSON header, then raw bytes.

A connection carries many questions at once, each answered under its number.
"""

from __future__ import annotations

import asyncio
import io
import os
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

_LENGTHS = struct.Struct(">II")
# The kernel's limit on a unix socket's path is 108 bytes on Linux, 104 elsewhere.
_PATH_BYTES = 100
BACKLOG = 512


Header = dict[str, Any]


class WireError(Exception):
    """The other side went away, in or before a frame."""


def pack(header: Header, *payload: bytes) -> bytes:
    """One frame, to be written in one piece; several payloads are joined."""
    encoded = orjson.dumps(header)
    return b"".join((_LENGTHS.pack(len(encoded), sum(map(len, payload))), encoded, *payload))


def receive_blocking(stream: io.BufferedIOBase) -> tuple[Header, bytes] | None:
    """The next frame, or None at the end of the stream."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    header_length, payload_length = _LENGTHS.unpack(head)
    header: Header = orjson.loads(stream.read(header_length))
    payload = stream.read(payload_length)
    return None if len(payload) < payload_length else (header, payload)


class Connection(asyncio.Protocol, ABC):
    """One side of a connection. What is sent within one turn of the event loop leaves in one piece.

    With many small frames, the call and what it wakes cost more than what is in them.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._arrived = bytearray()
        self._leaving: list[bytes] = []
        self.closed = False

    @abstractmethod
    def received(self, header: Header, payload: bytes) -> None:
        """A frame has arrived whole."""

    def send(self, frame: bytes) -> None:
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(frame)

    @property
    def is_stuck(self) -> bool:
        """Whether the other side has not read all that was sent."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """What has not left by now never will."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        at, length = 0, len(self._arrived)
        while length - at >= _LENGTHS.size:
            header_length, payload_length = _LENGTHS.unpack_from(self._arrived, at)
            begin = at + _LENGTHS.size
            middle = begin + header_length
            end = middle + payload_length
            if end > length:
                break
            frame = bytes(memoryview(self._arrived)[begin:end])
            self.received(orjson.loads(frame[:header_length]), frame[header_length:])
            at = end
        del self._arrived[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def _flush(self) -> None:
        frames, self._leaving = self._leaving, []
        if not self.closed and self._transport is not None:
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))


class RpcClient(Connection):
    """The side that asks."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._pending: dict[int, asyncio.Future[tuple[Header, bytes]]] = {}

    async def ask(self, header: Header, *payload: bytes) -> tuple[Header, bytes]:
        """Raises WireError where the other side goes away before it has answered."""
        if self.closed:
            raise WireError("The connection has ended.")
        self._number = number = self._number + 1
        answer: asyncio.Future[tuple[Header, bytes]] = self._loop.create_future()
        self._pending[number] = answer
        try:
            self.send(pack({**header, "id": number}, *payload))
            return await answer
        finally:
            del self._pending[number]

    def received(self, header: Header, payload: bytes) -> None:
        answer = self._pending.get(header.pop("id"))
        if answer is not None and not answer.done():  # who asked may not wait any more
            answer.set_result((header, payload))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(WireError(f"The connection ended: {exc}"))


Handler = Callable[[Header, bytes], Awaitable[Header]]


class RpcServer(Connection):
    """The side that answers, each question in a task of its own."""

    def __init__(self, handle: Handler) -> None:
        super().__init__()
        self._handle = handle
        self._tasks: set[asyncio.Task[None]] = set()

    def received(self, header: Header, payload: bytes) -> None:
        task = self._loop.create_task(self._work(header, payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, header: Header, payload: bytes) -> None:
        number = header.pop("id")
        self.send(pack({**await self._handle(header, payload), "id": number}))


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address to bind or connect to: the path itself, or a short one where it is too long for the kernel."""
    if len(os.fsencode(path)) <= _PATH_BYTES:
        yield str(path)
    elif sys.platform == "linux":
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{path.name}"
        finally:
            os.close(folder)
    else:
        raise OSError(f"{path} is too long for a socket; choose a shorter TRACKSIDE_HOME.")
