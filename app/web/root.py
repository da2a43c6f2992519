"""The path under which a reverse proxy serves Trackside, such as /trackside. Every address begins with it.

Requests reach the application without it, whether the proxy strips it or not. Templates and views put `root()` in front
of the paths of links, scripts put their `root`, and the middleware completes Location headers and the cookies' paths.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.environment import root_path
from app.settings import Settings

HEADER = "x-forwarded-prefix"
_COOKIE_PATH = re.compile(r"(;\s*path=)/(?=;|$)", re.IGNORECASE)
_root: ContextVar[str] = ContextVar("root", default="")


def root() -> str:
    """Return the path in front of all addresses in the answer to the current request; empty at the top of a host."""
    return _root.get()


@contextmanager
def below(path: str) -> Iterator[None]:
    """Put `path` behind the root in front of all addresses."""
    token = _root.set(_root.get() + path)
    try:
        yield
    finally:
        _root.reset(token)


class RootMiddleware:
    """The outermost: it sees the proxy's own address, which the forwarded headers replace further in."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.root = settings.root_path
        self.everyone = "*" in settings.trusted_proxies
        self.networks = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxies if proxy != "*"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        found = self.root or (self._forwarded(scope, headers) if self.networks or self.everyone else "")
        if not found:
            await self.app(scope, receive, send)
            return
        host = headers.get("host", "")

        async def send_under_root(message: Message) -> None:
            if message["type"] == "http.response.start":
                complete(MutableHeaders(scope=message), found, host)
            await send(message)

        token = _root.set(found)
        try:
            raw = scope.get("raw_path") or scope["path"].encode()
            path = {
                "path": stripped(scope["path"], found),
                "raw_path": stripped(raw.decode("latin-1"), found).encode("latin-1"),
            }
            await self.app({**scope, **path}, receive, send_under_root)
        finally:
            _root.reset(token)

    def _forwarded(self, scope: Scope, headers: Headers) -> str:
        """Return the prefix that a trusted proxy names; empty if there is none or it is not a path."""
        if not self.everyone and not self._trusts(scope["client"]):
            return ""
        try:
            return root_path(headers.get(HEADER, ""))
        except ValueError:
            return ""

    def _trusts(self, client: tuple[str, int] | None) -> bool:
        if client is None:
            return False
        address = ipaddress.ip_address(client[0])
        return any(address in network for network in self.networks)


def stripped(path: str, found: str) -> str:
    """Return `path` without the prefix, if the proxy left it there."""
    if path == found:
        return "/"
    return path.removeprefix(found) if path.startswith(f"{found}/") else path


def complete(headers: MutableHeaders, found: str, host: str) -> None:
    """Put the prefix in front of a Location of this server and of the cookies' path."""
    if (location := headers.get("location")) is not None:
        for scheme in ("http", "https"):
            location = location.removeprefix(f"{scheme}://{host}")
        if location.startswith("/") and not location.startswith(("//", f"{found}/")):
            headers["location"] = found + location
    cookies = headers.getlist("set-cookie")
    if cookies:
        del headers["set-cookie"]
        for cookie in cookies:
            headers.append("set-cookie", _COOKIE_PATH.sub(rf"\g<1>{found}", cookie))
