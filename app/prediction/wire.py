"""Frames between the web process, the predictor and its decoders: a JSON header, then raw bytes.

A connection carries many questions at a time; each answer has the `id` of its question. A frame with `cancel` withdraws
the question of that id.
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
# The kernel limits the path of a Unix socket to 108 bytes on Linux, 104 elsewhere.
_PATH_BYTES = 100
BACKLOG = 512
_JOINED_BYTES = 1 << 18  # up to this size, one write of a copy is faster


Header = dict[str, Any]


class WireError(Exception):
    """The peer closed the connection, within a frame or before one."""


def pack(header: Header, *payload: bytes) -> bytes:
    """Encode one frame. Several payloads are concatenated."""
    return b"".join(pack_parts(header, *payload))


def pack_parts(header: Header, *payload: bytes) -> list[bytes]:
    """Encode one frame as parts, without copying its payloads."""
    encoded = orjson.dumps(header)
    return [_LENGTHS.pack(len(encoded), sum(map(len, payload))), encoded, *payload]


def receive_blocking(stream: io.BufferedIOBase) -> tuple[Header, bytes] | None:
    """Return the next frame, or None at the end of the stream."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    header_length, payload_length = _LENGTHS.unpack(head)
    header: Header = orjson.loads(stream.read(header_length))
    payload = stream.read(payload_length)
    return None if len(payload) < payload_length else (header, payload)


class Connection(asyncio.Protocol, ABC):
    """One end of a connection. Frames sent within one iteration of the event loop are written with one call.

    With many small frames, a write and the wakeup of the peer cost more than the content.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._unsent: list[bytes] = []
        self.closed = False

    @abstractmethod
    def received(self, header: Header, payload: bytes) -> None:
        """Called with each complete frame."""

    def send(self, *frame: bytes) -> None:
        """Send a frame, which may be given in parts."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += frame

    @property
    def is_stuck(self) -> bool:
        """Whether the peer has not read everything that was sent."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """Close at once; frames that are not written yet are dropped."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        at, length = 0, len(self._received)
        while length - at >= _LENGTHS.size:
            header_length, payload_length = _LENGTHS.unpack_from(self._received, at)
            begin = at + _LENGTHS.size
            middle = begin + header_length
            end = middle + payload_length
            if end > length:
                break
            frame = bytes(memoryview(self._received)[begin:end])
            self.received(orjson.loads(frame[:header_length]), frame[header_length:])
            at = end
        del self._received[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def _flush(self) -> None:
        parts, self._unsent = self._unsent, []
        if self.closed or self._transport is None:
            return
        if len(parts) > 1 and sum(map(len, parts)) > _JOINED_BYTES:
            self._transport.writelines(parts)  # a copy of large images would double the memory that they take
        else:
            self._transport.write(b"".join(parts))


class RpcClient(Connection):
    """The end that sends questions."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._pending: dict[int, asyncio.Future[tuple[Header, bytes]]] = {}

    async def ask(self, header: Header, *payload: bytes) -> tuple[Header, bytes]:
        """Send a question and return the answer. If the caller is canceled, the peer is told to stop working on it.

        Raises WireError: the peer closed the connection before it answered.
        """
        if self.closed:
            raise WireError("The connection has ended.")
        self._number = number = self._number + 1
        answer: asyncio.Future[tuple[Header, bytes]] = self._loop.create_future()
        self._pending[number] = answer
        try:
            self.send(*pack_parts({**header, "id": number}, *payload))
            return await answer
        except asyncio.CancelledError:
            if not self.closed:
                self.send(pack({"cancel": number}))
            raise
        finally:
            del self._pending[number]

    def received(self, header: Header, payload: bytes) -> None:
        answer = self._pending.get(header.pop("id"))
        if answer is not None and not answer.done():  # the caller may have been canceled
            answer.set_result((header, payload))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(WireError(f"The connection ended: {exc}"))


Handler = Callable[[Header, bytes], Awaitable[Header]]


class RpcServer(Connection):
    """The end that answers, with one task per question.

    A task is canceled when its question is withdrawn, and when the peer closes the connection.
    """

    def __init__(self, handle: Handler) -> None:
        super().__init__()
        self._handle = handle
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def received(self, header: Header, payload: bytes) -> None:
        if "cancel" in header:
            if task := self._tasks.get(header["cancel"]):
                task.cancel()
            return
        number: int = header.pop("id")
        task = self._tasks[number] = self._loop.create_task(self._work(number, header, payload))
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for task in self._tasks.values():
            task.cancel()

    async def _work(self, number: int, header: Header, payload: bytes) -> None:
        self.send(pack({**await self._handle(header, payload), "id": number}))


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Yield an address to bind or connect to: the path, or a short equivalent if the path is too long for the kernel.

    Raises OSError: the path is too long, and the system is not Linux.
    """
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
