"""The HTTP protocol with limits on what a client sends too slowly, too long, or after its answer."""

from __future__ import annotations

import asyncio
import json
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 << 10
DRAIN_BYTES = 128 << 20  # the most that is read of a body that was answered before its end


class Reading(Enum):
    """What of a request is being received."""

    NOTHING = auto()
    HEADERS = auto()
    BODY = auto()
    TRAILERS = auto()  # a chunk's header has arrived but none of its data: it is the last chunk, if it has none


class IdleConnections:
    """The connections on which no request has arrived in full yet, the longest idle first."""

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._idle: dict[LimitedProtocol, None] = {}

    def add(self, connection: LimitedProtocol) -> None:
        self._idle[connection] = None

    def discard(self, connection: LimitedProtocol) -> None:
        self._idle.pop(connection, None)

    def make_room(self, connections: int) -> None:
        """Close the one that has been idle longest if there are too many connections; others are not touched."""
        if connections > self._max_connections and self._idle:
            oldest = next(iter(self._idle))
            self.discard(oldest)
            oldest.close_now()


class LimitedProtocol(HttpToolsProtocol):
    """Closes connections whose headers arrive too slowly (408) or whose headers or trailers are too large (431).

    After an answer, a connection is closed within the keep-alive time unless the headers of another request arrive.
    The rest of a body that was answered before its end is read, up to DRAIN_BYTES and the keep-alive time: if the
    connection were closed with data unread, the client would see a reset instead of the answer.

    uvicorn's own protocol has no timeout for the first request of a connection, nor for incomplete headers; any byte
    ends its keep-alive timeout; it keeps trailers without a limit.
    """

    _timer: asyncio.TimerHandle | None = None
    _is_header_timer = False
    _reading = Reading.NOTHING
    _received = 0  # bytes of what is being received; since the answer, of a body that was answered before its end
    _stopping = False

    def __init__(self, *, idle: IdleConnections, header_seconds: float, **given: Any) -> None:
        super().__init__(**given)
        self._idle = idle
        self._header_seconds = header_seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(LingeringTransport(transport, self._linger))  # type: ignore[arg-type]
        self._idle.make_room(len(self.connections))
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if not self._lingering.lingering:
            super().data_received(data)
        if self._lingering.lingering or (self._is_body_unread and self._is_answered):
            if self._received > DRAIN_BYTES:
                self.close_now()
        elif self._reading in (Reading.HEADERS, Reading.TRAILERS) and self._received > MAX_HEADER_BYTES:
            self._send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = Reading.HEADERS  # `_received` counts what has arrived already with the first bytes
        if not self._is_header_timer:
            self._start_header_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is Reading.HEADERS:  # trailers are ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._cancel_timer()
        self._change(Reading.BODY)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._change(Reading.TRAILERS)

    def on_body(self, body: bytes) -> None:
        if self._reading is not Reading.BODY:
            self._change(Reading.BODY)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._change(Reading.NOTHING)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the timer below replaces it
        self._received = 0
        if self._is_answered and self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.close_now)
            self._idle.add(self)

    def close_now(self) -> None:
        """Close the connection even if the client is still sending."""
        self._lingering.close_now()

    def shutdown(self) -> None:
        self._stopping = True
        super().shutdown()
        if self._is_answered:
            self.close_now()

    def send_400_response(self, msg: str) -> None:
        self._send_error(HTTPStatus.BAD_REQUEST, msg)

    @property
    def _lingering(self) -> LingeringTransport:
        assert isinstance(self.transport, LingeringTransport)
        return self.transport

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _is_body_unread(self) -> bool:
        return self._reading in (Reading.BODY, Reading.TRAILERS)

    def _change(self, reading: Reading) -> None:
        self._reading, self._received = reading, 0

    def _linger(self) -> bool:
        """Called before the connection is closed: whether the client may still be sending."""
        if self._stopping or self._reading is Reading.NOTHING:
            return False
        self.flow.resume_reading()
        self._received = 0
        return True

    def _start_header_timer(self) -> None:
        self._cancel_timer()
        self._is_header_timer = True
        message = "The headers arrived too slowly."
        self._timer = self.loop.call_later(self._header_seconds, self._send_error, HTTPStatus.REQUEST_TIMEOUT, message)
        self._idle.add(self)

    def _cancel_timer(self) -> None:
        self._is_header_timer = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._idle.discard(self)

    def _send_error(self, status: HTTPStatus, message: str) -> None:
        self._cancel_timer()
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if answering or self.transport.is_closing():
            self.close_now()  # the error would be read as a part of the answer
            return
        code = status.phrase.lower().replace(" ", "_")
        body = json.dumps({"error": {"code": code, "message": message, "detail": None}})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self.transport.write(f"{head}\r\nConnection: close\r\n\r\n{body}".encode())
        self.transport.close()
        self._timer = self.loop.call_later(self.timeout_keep_alive, self.close_now)


class LingeringTransport:
    """A transport whose `close` first ends its own direction alone, if `linger` says that the client may be sending."""

    def __init__(self, transport: asyncio.Transport, linger: Any) -> None:
        self._transport = transport
        self._linger = linger
        self.lingering = False
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.lingering or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if self._linger() and self._transport.can_write_eof():
            self.lingering = True
            self._transport.write_eof()
        else:
            self._transport.close()

    def close_now(self) -> None:
        self.lingering = True
        self._transport.close()
