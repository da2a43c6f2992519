"""Authentication and authorization of each request; unauthenticated page loads are redirected to the login page.

A request below a share link's address is answered as one of the address behind it, if the link opens that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth.authenticate import Authentication
from app.auth.shared_paths import PREFIX, opens, opens_always, split_address
from app.auth.shares import Share, Shares
from app.errors import ApiError
from app.web.errors import respond
from app.web.root import below

API_PREFIXES = ("/api", "/v2", "/metrics", "/openapi.json")
MAX_NEXT_LENGTH = 2000
SHARED_HEADERS = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}  # the address is the secret
RunsOf = Callable[[Share], Awaitable[frozenset[str]]]


class AuthMiddleware:
    """Sets `request.state.principal`, and `request.state.is_authorized`, which event streams call repeatedly.

    Below a share link, `request.state.share` is the link. `runs_of` returns the ids of the runs that a link shows.
    """

    def __init__(self, app: ASGIApp, authentication: Authentication, shares: Shares, runs_of: RunsOf) -> None:
        self.app = app
        self.authentication = authentication
        self.shares = shares
        self.runs_of = runs_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith(PREFIX):
            await self._shared(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method, path = scope["method"], scope["path"]

        def is_authorized() -> bool:
            try:
                self.authentication.authorize(method, path, headers)
            except ApiError:
                return False
            return True

        try:
            principal = self.authentication.authorize(method, path, headers)
        except ApiError as error:
            await self._refuse(Request(scope, receive), error)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(principal=principal, is_authorized=is_authorized)
        await self.app(scope, receive, send)

    async def _shared(self, scope: Scope, receive: Receive, send: Send) -> None:
        secret, path = split_address(scope["path"])

        async def send_unlisted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SHARED_HEADERS)
            await send(message)

        def is_valid() -> bool:
            return self.shares.find(secret) is not None

        try:
            share = await self._opened(scope, secret, path)
        except ApiError as error:
            scope.setdefault("state", {}).update(share=None)
            await respond(Request(scope, receive), error)(scope, receive, send_unlisted)
            return
        scope.setdefault("state", {}).update(principal=None, is_authorized=is_valid, share=share)
        with below(PREFIX + secret):
            await self.app({**scope, "path": path, "raw_path": quote(path).encode()}, receive, send_unlisted)

    async def _opened(self, scope: Scope, secret: str, path: str) -> Share:
        """Return the link, if it opens the path. Raises ApiError 404, 405, and DamagedFile."""
        share = self.shares.find(secret)
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if share is None or not (opens_always(path) or opens(path, query, await self.runs_of(share))):
            raise ApiError(404, "not_found", "There is no such link, or it was revoked.")
        if scope["method"] != "GET":
            raise ApiError(405, "method_not_allowed", "A share link only shows.", headers={"Allow": "GET, HEAD"})
        return share

    def _refuse(self, request: Request, error: ApiError) -> Response:
        sent_token = request.headers.get("authorization", "").lower().startswith("bearer ")
        if error.status == 401 and is_page(request) and not sent_token:
            return RedirectResponse(login_address(request), 303)
        return respond(request, error)


def is_page(request: Request) -> bool:
    """Return whether a browser navigates to a page. A script's fetch gets 401 instead of the login page."""
    return not request.url.path.startswith(API_PREFIXES) and request.headers.get("sec-fetch-mode") in (None, "navigate")


def login_address(request: Request) -> str:
    """Return the URL of the login page, with the requested page in `next`."""
    wanted: str = request.scope["raw_path"].decode("ascii", "replace")
    if query := request.scope["query_string"]:
        wanted += "?" + query.decode("ascii", "replace")
    if request.method != "GET" or wanted == "/" or len(wanted) > MAX_NEXT_LENGTH:
        return "/login"
    return f"/login?next={quote(wanted, safe='/')}"
