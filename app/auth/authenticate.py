"""Authentication and authorization of requests.

While the server listens on the loopback, credentials are needed once a password is set; elsewhere they always are.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from app.auth.exposure import is_loopback
from app.auth.login_attempts import LoginAttempts
from app.auth.password import PasswordFile
from app.auth.scopes import Scope, granted, is_open, sufficient_scopes
from app.auth.sessions import Sessions
from app.auth.tokens import Tokens
from app.errors import ApiError
from app.settings import Settings

log = logging.getLogger(__name__)

USES_SECONDS = 60.0


@dataclass(frozen=True)
class Principal:
    """The authenticated caller. `token` is the token's name; None for a session, which has all scopes."""

    token: str | None
    scopes: frozenset[Scope]


SESSION_USER = Principal(None, frozenset(Scope))


class Authentication:
    def __init__(self, settings: Settings) -> None:
        self.password = PasswordFile(settings.access)
        self.tokens = Tokens(settings.access)
        self.sessions = Sessions(settings.access, settings.session_days * 86_400)
        self.attempts = LoginAttempts()
        self.password_check = asyncio.Lock()
        # Cookies do not distinguish ports: each server on a host needs its own name.
        self.cookie = f"trackside-{settings.port}"
        self.browser_cookie = f"{self.cookie}-browser"
        self._always = not is_loopback(settings.host) and not settings.insecure

    def locked(self) -> bool:
        """Whether credentials are needed. Raises DamagedFile."""
        return self._always or self.password.current() is not None

    def authorize(self, method: str, path: str, headers: Headers) -> Principal | None:
        """Return the principal, or None if no credentials are needed. Raises ApiError 401, 403, and DamagedFile."""
        if is_open(path):
            return None
        principal = self.principal(headers)
        if principal is None:
            if self.locked():
                raise unauthorized("Sign in, or send a token: Authorization: Bearer …")
            return None
        sufficient = sufficient_scopes(method, path)
        if Scope.ADMIN not in principal.scopes and not sufficient & principal.scopes:
            needed = " or ".join(sorted(sufficient)) or Scope.ADMIN
            message = f"The token {principal.token!r} may not do this: the scope {needed} is needed."
            raise ApiError(403, "scope_missing", message)
        return principal

    def principal(self, headers: Headers) -> Principal | None:
        """Authenticate by the token, else by the session cookie. Raises ApiError 401, and DamagedFile."""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (self.locked() or self.tokens.any()):
            token = self.tokens.find(text.strip())
            if token is None:
                raise unauthorized("There is no such token, or it was revoked.")
            return Principal(token.name, granted(token.scopes))
        return None if self.session(headers) is None else SESSION_USER

    def session(self, headers: Headers) -> str | None:
        """Return the session cookie's value if it is valid. Raises DamagedFile."""
        cookie = cookie_parser("; ".join(headers.getlist("cookie"))).get(self.cookie)
        password = None if cookie is None else self.password.current()
        if cookie is None or password is None or not self.sessions.holds(password.secret, cookie):
            return None
        return cookie

    async def write_uses_periodically(self) -> None:
        """Write the times at which tokens were last used, every USES_SECONDS until canceled."""
        while True:
            await asyncio.sleep(USES_SECONDS)
            await asyncio.to_thread(self.write_uses)

    def write_uses(self) -> None:
        try:
            self.tokens.write_uses()
        except (OSError, ApiError):  # does not affect authentication
            log.exception("the tokens' last uses could not be written")


def unauthorized(message: str) -> ApiError:
    return ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
