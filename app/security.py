"""What every request passes first: its Host, its origin, its size; and the headers of every answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ApiError, respond
from app.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# These read their own bodies, within limits of their own.
OWN_LIMITS = ("/api/predict", "/api/datasets")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses foreign hosts and cross-site requests, cuts large bodies off, and adds the security headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = LimitedBody(receive, None if scope["path"] in OWN_LIMITS else self.settings.max_body_bytes)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        error = self._refusal(scope, headers)
        if error is None:
            await self.app(scope, body, send_with_headers)
        else:
            await respond(Request(scope, receive), error)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> ApiError | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self.settings.allowed_hosts:
            return ApiError(400, "bad_host", "The Host header does not name this server.")
        if scope["method"] not in SAFE_METHODS and is_cross_site(headers, hosts[0]):
            return ApiError(403, "cross_site", "Requests from other sites are refused.")
        declared = headers.get("content-length", "0")
        if not declared.isdigit():
            return ApiError(400, "bad_request", "The Content-Length header is not a number.")
        if scope["path"] not in OWN_LIMITS and int(declared) > self.settings.max_body_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> ApiError:
        limit = self.settings.max_body_bytes
        return ApiError(413, "too_large", f"The body is larger than {limit} bytes.", headers={"Connection": "close"})


class LimitedBody:
    def __init__(self, receive: Receive, limit: int | None) -> None:
        self._receive = receive
        self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        if self._left is not None and message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                # The one kind of exception that FastAPI lets through while it reads a body.
                raise HTTPException(413, "The body is too large.", headers={"Connection": "close"})
        return message


def host_name(host: str) -> str:
    """The name of a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host


def is_cross_site(headers: Headers, host: str) -> bool:
    """Browsers say where a request comes from; programs say nothing, and are let through."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and (origin == "null" or urlsplit(origin).netloc != host)
