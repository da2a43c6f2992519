"""Middleware for every request: checks Host, origin and body size, and sets the security headers of responses."""

from __future__ import annotations

import asyncio
from time import monotonic

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.datasets.uploads import MOST_CHUNK_BYTES
from app.environment import host_name
from app.errors import ApiError
from app.settings import Settings
from app.web.errors import respond

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_SCRIPT_BYTES = 4 << 20  # of events, or of what is said of a script: its settings, packages and changes
MIN_BYTES_PER_SECOND = 1000  # on average over the body
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Rejects unknown hosts and cross-site requests, limits the size and duration of bodies, adds security headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.hosts = settings.hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # The app has no WebSocket routes, and the checks below would not apply to them.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = LimitedBody(receive, self._limit(scope), self.settings.body_seconds)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        error = self._error_for(scope, headers)
        if error is None:
            await self.app(scope, body, send_with_headers)
        else:
            await respond(Request(scope, receive), error)(scope, receive, send_with_headers)

    def _error_for(self, scope: Scope, headers: Headers) -> ApiError | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self.hosts:
            return ApiError(400, "bad_host", "The Host header does not name this server.")
        if scope["method"] not in SAFE_METHODS and is_cross_site(headers, hosts[0]):
            return ApiError(403, "cross_site", "Requests from other sites are refused.")
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or len(declared) > 18:
            return ApiError(400, "bad_request", "The Content-Length header is not a number.")
        limit = self._limit(scope)
        if limit is not None and int(declared) > limit:
            message = f"The body is larger than {limit} bytes."
            return ApiError(413, "too_large", message, headers={"Connection": "close"})
        return None

    def _limit(self, scope: Scope) -> int | None:
        match scope["path"]:
            case "/api/predict" | "/api/predict/saliency":
                return None  # limited per image, by the memory budget that all requests share
            case "/api/datasets" | "/api/predict/batch":
                return self.settings.max_dataset_bytes
            case path if path.startswith("/api/uploads/"):
                return MOST_CHUNK_BYTES
            case path if path.startswith("/api/scripts/"):
                return self.settings.max_script_file_bytes if "/files/" in path else MOST_SCRIPT_BYTES
            case _:
                return self.settings.max_body_bytes


class LimitedBody:
    """An ASGI `receive` that limits the size and duration of a body.

    Raises HTTPException 413 for a body that is too large, 408 for one that arrives too slowly. `limit` is in bytes,
    None for no limit. The timeout starts at `seconds`, decreases by the time spent waiting, and increases by 1 s per
    MIN_BYTES_PER_SECOND received, up to `seconds`.
    """

    def __init__(self, receive: Receive, limit: int | None, seconds: float) -> None:
        self._receive = receive
        self._remaining = limit
        self._seconds = seconds
        self._timeout: float | None = seconds  # remaining seconds; None after the end of the body

    async def __call__(self) -> Message:
        asked = monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "The body arrived too slowly.", headers={"Connection": "close"}) from None
        size = len(message.get("body", b""))
        if not message.get("more_body"):
            self._timeout = None  # the only later message is http.disconnect
        elif self._timeout is not None:
            self._timeout = min(self._seconds, self._timeout - (monotonic() - asked) + size / MIN_BYTES_PER_SECOND)
        if self._remaining is not None and message["type"] == "http.request":
            self._remaining -= size
            if self._remaining < 0:
                # FastAPI passes only HTTPException through while it reads a body.
                raise HTTPException(413, "The body is too large.", headers={"Connection": "close"})
        return message


def is_cross_site(headers: Headers, host: str) -> bool:
    """Whether a browser sent the request from another site. Without Sec-Fetch-Site and Origin it is not a browser's."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}")
