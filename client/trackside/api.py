"""HTTP calls to a server's API: JSON, streams and uploads, each on a connection of its own."""

from __future__ import annotations

import http.client
import json
import ssl
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from trackside.errors import ApiError, UsageError
from trackside.options import read_token
from trackside.version import VERSION

SECONDS = 60.0  # without a byte from the server
BLOCK = 1 << 18  # bytes that are read at once


class Api:
    """The address and the credentials of a server. It holds no connection: threads may share it."""

    def __init__(self, url: str, token: str | None = None, seconds: float = SECONDS) -> None:
        """Raises UsageError: `url` is not an http or https address."""
        self.url = url.rstrip("/")
        self._token = token
        self._seconds = seconds
        try:
            parts = urlsplit(self.url)
            self._port = parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is not an address: {error}.") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is not an address such as http://127.0.0.1:8000.")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._root = parts.path

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of the answer. Raises ApiError."""
        return self._json("GET", path, query)

    def send(self, method: str, path: str, body: Any = None, once: bool = False) -> Any:
        """Send `body` as JSON, or nothing if it is None, and return the JSON of the answer.

        once: the server carries it out once however often it receives it, so that it is repeated if the answer is lost.
        """
        headers = {"Idempotency-Key": uuid.uuid4().hex} if once else {}
        data = None
        if body is not None:
            data, headers["Content-Type"] = _encoded(body), "application/json"
        try:
            return self._json(method, path, {}, data, headers)
        except ApiError as error:
            if not once or error.status != 0:
                raise
            return self._json(method, path, {}, data, headers)

    def upload(self, path: str, files: Sequence[tuple[str, bytes]], **query: Any) -> Any:
        """Send files (name, content) in the multipart field `file`, and return the JSON of the answer."""
        boundary = uuid.uuid4().hex
        parts: list[bytes] = []
        for name, content in files:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(name)}"\r\n'
            parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", content, b"\r\n"]
        body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
        return self._json("POST", path, query, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    @contextmanager
    def stream(self, path: str, **query: Any) -> Iterator[Iterator[bytes]]:
        """Give the blocks of an answer as they arrive. Reading them raises ApiError if the connection breaks."""
        with self._answer("GET", path, query, None, {"Accept": "*/*"}) as answer:
            yield self._blocks(answer)

    def _blocks(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        expected, count = answer.length, 0  # the length is None if the answer is chunked
        while True:
            with self._reaching():
                block = answer.read(BLOCK)
            if not block:
                break
            count += len(block)
            yield block
        if expected is not None and count < expected:
            raise ApiError(0, "unreachable", f"{self.url} has closed the connection before the end of the answer.")

    def _json(
        self, method: str, path: str, query: Mapping[str, Any], body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # fmt: skip
        with self._answer(method, path, query, body, {"Accept": "application/json", **(headers or {})}) as answer:
            with self._reaching():
                text = answer.read()
            try:
                return json.loads(text) if text else None
            except ValueError:
                message = f"{self.url} does not answer as a Trackside server."
                raise ApiError(answer.status, "not_json", message) from None

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Mapping[str, Any], body: bytes | None, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give its answer, whose status is below 300."""
        wanted = {name: _text(value) for name, value in query.items() if value is not None}
        address = self._root + path + (f"?{urlencode(wanted, doseq=True)}" if wanted else "")
        sent = {**self._headers(), **headers}
        connection = self._connection()
        try:
            with self._reaching():
                # A server that refuses a large body answers before it has read all of it.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, address, body, sent)
                answer = connection.getresponse()
                if answer.status >= 300:
                    raise _error_of(answer, self.url)
            yield answer
        finally:
            connection.close()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise ApiError(0, "unreachable", f"{self.url} cannot be reached: {reason}") from None

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": f"trackside-client/{VERSION}"}
        token = self._token or read_token()
        if token:
            if not (token.isascii() and token.isprintable()):
                raise UsageError("the token has characters that no token has.")
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._seconds, context=context, blocksize=BLOCK
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._seconds, blocksize=BLOCK)


def _encoded(body: Any) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"the request cannot be written as JSON: {error}.") from None


def _quoted(name: str) -> str:
    """A file name in a header of a part, as browsers write it."""
    clean = name.encode("utf-8", "replace").decode()
    return clean.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _text(value: Any) -> str | list[str]:
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _error_of(answer: http.client.HTTPResponse, url: str) -> ApiError:
    body: Any = None
    with suppress(ValueError):
        body = json.loads(answer.read())
    found = body.get("error") if isinstance(body, dict) else None
    if not isinstance(found, dict):
        place = answer.getheader("Location")
        message = f"{url} redirects to {place}." if place else f"{url} answers with HTTP status {answer.status}."
        found = {"message": message}
    code = str(found.get("code") or f"http_{answer.status}")
    message = str(found.get("message") or f"HTTP status {answer.status}")
    return ApiError(answer.status, code, message, found.get("detail"), _number(answer.getheader("Retry-After")))


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
