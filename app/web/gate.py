"""Authentication and authorization of each request; unauthenticated page loads are redirected to the login page."""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.authenticate import Authentication
from app.errors import ApiError
from app.web.errors import respond

API_PREFIXES = ("/api", "/v2", "/metrics", "/openapi.json")
MAX_NEXT_LENGTH = 2000


class AuthMiddleware:
    """Sets `request.state.principal`, and `request.state.is_authorized`, which event streams call repeatedly."""

    def __init__(self, app: ASGIApp, authentication: Authentication) -> None:
        self.app = app
        self.authentication = authentication

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
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
