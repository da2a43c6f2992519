"""The server's calls for scripts, over one connection that is kept open."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

from trackside.options import read_token
from trackside.version import VERSION

COMPRESSED = 2048  # bytes from which a body is compressed
BLOCK = 1 << 18  # bytes of a file that are sent at once


class Unreachable(Exception):
    """No answer, or one that says to try again."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Busy(Unreachable):
    """The server asks for a pause."""


class Unauthorized(Exception):
    """The token is missing, revoked or may not do this."""


class Refused(Exception):
    """The server will not accept this, however often it is asked. `code` is that of its answer."""

    def __init__(self, status: int, code: str, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail


class _Watched:
    """A file that is sent as a body."""

    def __init__(self, file: BinaryIO, on_read: Callable[[], None]) -> None:
        self._file = file
        self._on_read = on_read
        self.size = os.fstat(file.fileno()).st_size
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        self._on_read()
        return self._file.read(size)


class Server:
    """Not for several threads at once."""

    def __init__(self, url: str, seconds: float = 10.0) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if self._secure else 80)
        self._root = parts.path.rstrip("/")
        self._seconds = seconds
        self._connection: http.client.HTTPConnection | None = None
        self.url = url

    def announce(self, run_id: str, request: dict[str, Any]) -> dict[str, Any]:
        """Announce a session: its answer has `offset`, `attempt`, `last_step` and `stop`."""
        return self._call("PUT", f"/api/scripts/{quote(run_id)}", json.dumps(request).encode(), "application/json")

    def describe(self, run_id: str, fields: dict[str, Any]) -> None:
        """Change the name, project, notes or tags of a run."""
        self._call("PATCH", f"/api/runs/{quote(run_id)}", json.dumps(fields).encode(), "application/json")

    def append(self, run_id: str, session: str, offset: int, lines: bytes) -> dict[str, Any]:
        """Send the lines that begin at byte `offset`. Without lines it is a heartbeat."""
        query = urlencode({"session": session, "offset": offset})
        return self._call("POST", f"/api/scripts/{quote(run_id)}/events?{query}", lines, "application/x-ndjson")

    def has_file(self, run_id: str, sha256: str) -> bool:
        try:
            self._call("HEAD", f"/api/scripts/{quote(run_id)}/files/{sha256}", b"", None)
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True

    def put_file(self, run_id: str, sha256: str, path: Path, on_progress: Callable[[], None]) -> None:
        """`on_progress` is called for each block that is sent."""
        with path.open("rb") as file:
            body = _Watched(file, on_progress)
            self._call("PUT", f"/api/scripts/{quote(run_id)}/files/{sha256}", body, "application/octet-stream")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(self, method: str, path: str, body: bytes | _Watched, kind: str | None) -> dict[str, Any]:
        headers = {"Accept": "application/json", "User-Agent": f"trackside-client/{VERSION}"}
        if kind is not None:
            headers["Content-Type"] = kind
        token = read_token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, bytes):
            if kind == "application/x-ndjson" and len(body) > COMPRESSED:
                body = gzip.compress(body, 1)
                headers["Content-Encoding"] = "gzip"
        else:
            headers["Content-Length"] = str(body.size)
        status, answer, retry_after = self._exchange(method, self._root + path, body, headers)
        if status < 300:
            return answer
        raise _error_of(status, answer, retry_after)

    def _exchange(
        self, method: str, path: str, body: bytes | _Watched, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any], float]:
        """One request. A connection that the server has closed while it was idle is opened again once."""
        fresh = self._connection is None
        try:
            if self._connection is None:
                self._connection = self._connect()
            # A server that refuses a large body answers before it has read all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not fresh and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                if not isinstance(body, bytes):
                    body.seek(0)
                return self._exchange(method, path, body, headers)
            raise Unreachable(f"{self.url}: {error or type(error).__name__}") from None
        if answer.will_close:
            self.close()
        known: Any = None
        with suppress(ValueError):
            known = json.loads(text) if text else {}
        if not isinstance(known, dict):
            if answer.status < 300:
                raise Unreachable(f"{self.url} does not answer as a Trackside server")
            known = {}
        return answer.status, known, _number(answer.getheader("Retry-After"))

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._seconds, context=context, blocksize=BLOCK
            )
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._seconds, blocksize=BLOCK)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _error_of(status: int, answer: dict[str, Any], retry_after: float) -> Exception:
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or f"HTTP status {status}")
    if status in (401, 403):
        return Unauthorized(message)
    if status == 429:
        return Busy(message, retry_after or 1.0)
    if status in (408, 425) or status >= 500:
        return Unreachable(message, retry_after)
    return Refused(status, str(error.get("code") or status), message, error.get("detail"))


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
