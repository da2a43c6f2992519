"""Signing in and out, and the page of tokens: plain forms."""

from __future__ import annotations

import re
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from app.auth.authenticate import Access
from app.auth.password import MAX_LENGTH
from app.auth.scopes import Scope
from app.errors import ApiError, invalid
from app.web.auth.view import LoginPage, TokensPage
from app.web.forms import render, texts
from app.web.services import AccessDep, CallerDep

router = APIRouter(include_in_schema=False)

NO_STORE = {"Cache-Control": "no-store"}
# A browser takes // and /\ for another host, and drops tabs and line ends before it looks.
_WAY_BACK = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


@router.get("/login")
def login_page(request: Request, access: AccessDep, next: Annotated[str, Query(max_length=8000)] = "/") -> Response:
    if not access.locked() or access.session(request.headers) is not None:
        return RedirectResponse(way_back(next), 303)
    return _login(request, access, way_back(next))


@router.post("/login")
async def login(request: Request, access: AccessDep) -> Response:
    typed = texts(await request.form())
    back = way_back(typed.get("next", "/"))
    kept = access.password.current()
    if kept is None:
        return _login(request, access, back) if access.locked() else RedirectResponse(back, 303)
    peer = request.client.host if request.client else ""
    if wait := access.attempts.take(peer, time.monotonic()):
        seconds = int(wait) + 1
        fault = f"That was tried too often. Wait {seconds} seconds."
        return _login(request, access, back, fault, 429, {"Retry-After": str(seconds)})
    given = typed.get("password", "")
    async with access.guessing:  # each takes 128 MiB for a while
        right = len(given) <= MAX_LENGTH and await run_in_threadpool(kept.matches, given)
    if not right:
        return _login(request, access, back, "That is not the password.", 401, {"WWW-Authenticate": "Bearer"})
    access.attempts.forget(peer)
    answer = RedirectResponse(back, 303, headers=NO_STORE)
    answer.set_cookie(
        access.cookie,
        access.sessions.begin(kept.secret),
        max_age=access.sessions.seconds,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
async def logout(request: Request, access: AccessDep) -> Response:
    """This session; with the field `everywhere` all of them."""
    if texts(await request.form()).get("everywhere"):
        await run_in_threadpool(access.password.sign_everyone_out)
    elif (session := access.session(request.headers)) is not None:
        await run_in_threadpool(access.sessions.end, session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(access.cookie, httponly=True, samesite="lax")
    return answer


@router.get("/tokens")
def tokens_page(request: Request, access: AccessDep) -> Response:
    return _tokens(request, access)


@router.post("/tokens")
async def add_token(request: Request, access: AccessDep, caller: CallerDep) -> Response:
    """Shows the token, this once."""
    _known(caller)
    form = await request.form()
    name = texts(form).get("name", "").strip()
    try:
        scopes = [Scope(str(value)) for value in form.getlist("scope")]
    except ValueError:
        raise invalid([(["scope"], f"is one of {', '.join(Scope)}")]) from None
    made = await run_in_threadpool(access.tokens.add, name, scopes)
    return _tokens(request, access, name, made)


@router.post("/tokens/{name}/revoke")
def revoke_token(name: str, access: AccessDep, caller: CallerDep) -> Response:
    _known(caller)
    access.tokens.revoke(name)
    return RedirectResponse("/tokens", 303)


def way_back(wanted: str) -> str:
    """The page that was wanted, if it is one of ours."""
    return wanted if _WAY_BACK.fullmatch(wanted) and not wanted.startswith(("/login", "/logout")) else "/"


def _known(caller: CallerDep) -> None:
    """A token made while everybody may come in would still be good once a password is set."""
    if caller is None:
        raise ApiError(409, "no_password", "Set a password first: trackside password. Or use: trackside tokens add.")


def _login(
    request: Request,
    access: Access,
    back: str,
    fault: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    page = LoginPage(back=back, fault=fault, can=access.password.current() is not None)
    answer = render(request, "auth/login.html", page, status)
    answer.headers.update(NO_STORE | (headers or {}))
    return answer


def _tokens(request: Request, access: Access, name: str = "", made: str = "") -> Response:
    page = TokensPage(
        tokens=tuple(access.tokens.list()), made=made, name=name, password=access.password.current() is not None
    )
    answer = render(request, "auth/tokens.html", page)
    answer.headers.update(NO_STORE)
    return answer
