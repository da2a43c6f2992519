"""Routes for login, logout and the tokens page, as HTML forms."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from app.auth.authenticate import Authentication
from app.auth.known_browsers import KNOWN_SECONDS, browser_of, new_browser
from app.auth.password import MAX_LENGTH
from app.auth.scopes import Scope
from app.errors import ApiError, invalid
from app.web.auth.view import LoginPage, TokensPage
from app.web.forms import render, texts
from app.web.services import AuthenticationDep, PrincipalDep

router = APIRouter(include_in_schema=False)

NO_STORE = {"Cache-Control": "no-store"}
# A path of this server. Browsers read // and /\ as another host, and strip tabs and newlines first.
_LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


@router.get("/login")
def login_page(
    request: Request, authentication: AuthenticationDep, next: Annotated[str, Query(max_length=8000)] = "/"
) -> Response:
    if not authentication.locked() or authentication.session(request.headers) is not None:
        return RedirectResponse(way_back(next), 303)
    return _login(request, authentication, way_back(next))


@router.post("/login")
async def login(request: Request, authentication: AuthenticationDep) -> Response:
    typed = texts(await request.form())
    back = way_back(typed.get("next", "/"))
    kept = authentication.password.current()
    if kept is None:
        return _login(request, authentication, back) if authentication.locked() else RedirectResponse(back, 303)
    peer = request.client.host if request.client else ""
    browser = browser_of(kept.secret, request.cookies.get(authentication.browser_cookie))
    turn = authentication.attempts.take(peer, time.monotonic(), browser)
    if turn.refused:
        seconds = int(turn.seconds) + 1
        fault = f"Too many attempts. Try again in {seconds} s."
        return _login(request, authentication, back, fault, 429, {"Retry-After": str(seconds)})
    await asyncio.sleep(turn.seconds)
    given = typed.get("password", "")
    async with authentication.password_check:  # one at a time: each takes 128 MiB
        correct = len(given) <= MAX_LENGTH and await run_in_threadpool(kept.matches, given)
    if not correct:
        return _login(request, authentication, back, "Wrong password.", 401, {"WWW-Authenticate": "Bearer"})
    authentication.attempts.forget(peer, browser)
    answer = RedirectResponse(back, 303, headers=NO_STORE)
    answer.set_cookie(
        authentication.cookie,
        authentication.sessions.begin(kept.secret),
        max_age=authentication.sessions.seconds,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    if browser is None:
        answer.set_cookie(
            authentication.browser_cookie,
            new_browser(kept.secret),
            max_age=KNOWN_SECONDS,
            path="/login",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
    return answer


@router.post("/logout")
async def logout(request: Request, authentication: AuthenticationDep) -> Response:
    """End this session, or with the field `everywhere` all sessions."""
    if texts(await request.form()).get("everywhere"):
        await run_in_threadpool(authentication.password.sign_everyone_out)
    elif (session := authentication.session(request.headers)) is not None:
        await run_in_threadpool(authentication.sessions.end, session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(authentication.cookie, httponly=True, samesite="lax")
    return answer


@router.get("/tokens")
def tokens_page(request: Request, authentication: AuthenticationDep) -> Response:
    return _tokens(request, authentication)


@router.post("/tokens")
async def add_token(request: Request, authentication: AuthenticationDep, principal: PrincipalDep) -> Response:
    """Create a token. It is shown only in this response."""
    _require_principal(principal)
    form = await request.form()
    name = texts(form).get("name", "").strip()
    try:
        scopes = [Scope(str(value)) for value in form.getlist("scope")]
    except ValueError:
        raise invalid([(["scope"], f"is one of {', '.join(Scope)}")]) from None
    made = await run_in_threadpool(authentication.tokens.add, name, scopes)
    return _tokens(request, authentication, name, made)


@router.post("/tokens/{name}/revoke")
def revoke_token(name: str, authentication: AuthenticationDep, principal: PrincipalDep) -> Response:
    _require_principal(principal)
    authentication.tokens.revoke(name)
    return RedirectResponse("/tokens", 303)


def way_back(wanted: str) -> str:
    """Return the requested page if it is a path of this server, else the start page."""
    return wanted if _LOCAL_PATH.fullmatch(wanted) and not wanted.startswith(("/login", "/logout")) else "/"


def _require_principal(principal: PrincipalDep) -> None:
    """Raises ApiError 409: a token created while no credentials are needed would stay valid once a password is set."""
    if principal is None:
        raise ApiError(409, "no_password", "Set a password first: trackside password. Or use: trackside tokens add.")


def _login(
    request: Request,
    authentication: Authentication,
    back: str,
    fault: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    page = LoginPage(back=back, fault=fault, can=authentication.password.current() is not None)
    answer = render(request, "auth/login.html", page, status)
    answer.headers.update(NO_STORE | (headers or {}))
    return answer


def _tokens(request: Request, authentication: Authentication, name: str = "", made: str = "") -> Response:
    page = TokensPage(
        tokens=tuple(authentication.tokens.list()),
        made=made,
        name=name,
        password=authentication.password.current() is not None,
    )
    answer = render(request, "auth/tokens.html", page)
    answer.headers.update(NO_STORE)
    return answer
