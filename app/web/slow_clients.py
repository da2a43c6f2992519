"""The HTTP protocol with a timeout and a size limit for request headers."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 << 10


class HeaderTimeoutProtocol(HttpToolsProtocol):
    """Closes connections whose request headers arrive too slowly (408) or are too large (431).

    uvicorn's own protocol has no timeout for the first request of a connection, nor for incomplete headers.
    """

    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._header_bytes += len(data)
        super().data_received(data)
        if self._timer is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        self._cancel_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._send_error(HTTPStatus.BAD_REQUEST, msg)

    def _start_timer(self) -> None:
        seconds = self._settings().header_seconds
        self._header_bytes = 0
        self._timer = self.loop.call_later(
            seconds, self._send_error, HTTPStatus.REQUEST_TIMEOUT, "The headers arrived too slowly."
        )

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settings(self) -> Any:
        app: Any = self.config.app
        return app.state.services.settings

    def _send_error(self, status: HTTPStatus, message: str) -> None:
        self._cancel_timer()
        if self.transport.is_closing():
            return
        code = status.phrase.lower().replace(" ", "_")
        body = json.dumps({"error": {"code": code, "message": message, "detail": None}})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self.transport.write(f"{head}\r\nConnection: close\r\n\r\n{body}".encode())
        self.transport.close()
