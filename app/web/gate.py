"""Authenticates and authorizes each request, or sends it to the login page, or refuses it."""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.authenticate import Authentication
from app.errors import ApiError
from app.web.errors import respond

FOR_PROGRAMS = ("/api", "/v2", "/metrics", "/openapi.json")
LONGEST_WAY_BACK = 2000


class AuthMiddleware:
    """Sets `request.state.principal`, and `request.state.is_authorized`, which a long stream asks again and again."""

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
    """What a script fetches would be given the login page for an answer: it is told 401."""
    return not request.url.path.startswith(FOR_PROGRAMS) and request.headers.get("sec-fetch-mode") in (None, "navigate")


def login_address(request: Request) -> str:
    wanted: str = request.scope["raw_path"].decode("ascii", "replace")
    if query := request.scope["query_string"]:
        wanted += "?" + query.decode("ascii", "replace")
    if request.method != "GET" or wanted == "/" or len(wanted) > LONGEST_WAY_BACK:
        return "/login"
    return f"/login?next={quote(wanted, safe='/')}"
