"""Who may come in: on the loopback nobody is asked until a password is set; then, and elsewhere, everybody is."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from app.auth.exposure import is_loopback
from app.auth.login_attempts import LoginAttempts
from app.auth.password import PasswordFile
from app.auth.scopes import Scope, granted, is_open, suffices
from app.auth.sessions import Sessions
from app.auth.tokens import Tokens
from app.errors import ApiError
from app.settings import Settings

log = logging.getLogger(__name__)

USES_SECONDS = 60.0


@dataclass(frozen=True)
class Principal:
    """`token` is its name; None for a person with a session, who may do everything."""

    token: str | None
    may: frozenset[Scope]


SESSION_USER = Principal(None, frozenset(Scope))


class Authentication:
    def __init__(self, settings: Settings) -> None:
        self.password = PasswordFile(settings.access)
        self.tokens = Tokens(settings.access)
        self.sessions = Sessions(settings.access, settings.session_days * 86_400)
        self.attempts = LoginAttempts()
        self.guessing = asyncio.Lock()
        self.cookie = (
            f"trackside-{settings.port}"  # cookies know no ports: servers beside each other must not mix theirs
        )
        self._always = not is_loopback(settings.host) and not settings.insecure

    def locked(self) -> bool:
        """Whether credentials are needed. Raises DamagedFile."""
        return self._always or self.password.current() is not None

    def authorize(self, method: str, path: str, headers: Headers) -> Principal | None:
        """Who asks, None where nobody needs to say. Raises ApiError 401, 403, and DamagedFile."""
        if is_open(path):
            return None
        principal = self.principal(headers)
        if principal is None:
            if self.locked():
                raise unauthorized("Sign in, or send a token: Authorization: Bearer …")
            return None
        enough = suffices(method, path)
        if Scope.ADMIN not in principal.may and not enough & principal.may:
            needed = " or ".join(sorted(enough)) or Scope.ADMIN
            message = f"The token {principal.token!r} may not do this: the scope {needed} is needed."
            raise ApiError(403, "scope_missing", message)
        return principal

    def principal(self, headers: Headers) -> Principal | None:
        """A token that is sent decides, whatever the cookie. Raises ApiError 401, and DamagedFile."""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (self.locked() or self.tokens.any()):
            token = self.tokens.find(text.strip())
            if token is None:
                raise unauthorized("There is no such token, or it was revoked.")
            return Principal(token.name, granted(token.scopes))
        return None if self.session(headers) is None else SESSION_USER

    def session(self, headers: Headers) -> str | None:
        """The cookie's value, if it holds. Raises DamagedFile."""
        cookie = cookie_parser("; ".join(headers.getlist("cookie"))).get(self.cookie)
        password = None if cookie is None else self.password.current()
        if cookie is None or password is None or not self.sessions.holds(password.secret, cookie):
            return None
        return cookie

    async def note_uses(self) -> None:
        """Write the tokens' last uses down, until it is cancelled."""
        while True:
            await asyncio.sleep(USES_SECONDS)
            await asyncio.to_thread(self.write_uses)

    def write_uses(self) -> None:
        try:
            self.tokens.write_uses()
        except (OSError, ApiError):  # nobody is kept out for it
            log.exception("the tokens' last uses could not be written")


def unauthorized(message: str) -> ApiError:
    return ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
