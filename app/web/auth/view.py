"""Contents of the login page and the tokens page."""

from __future__ import annotations

from dataclasses import dataclass

from app.auth.scopes import MEANING, Scope
from app.auth.tokens import Token


@dataclass(frozen=True)
class LoginPage:
    """`/login`. `back` is the page to return to; `can` is false if no password is set, so that login is impossible."""

    back: str
    fault: str
    can: bool


@dataclass(frozen=True)
class TokensPage:
    """`/tokens`. `tokens` with their last use in seconds since the epoch; `made` is a new token, `name` its name."""

    tokens: tuple[tuple[Token, float | None], ...]
    made: str
    name: str
    password: bool
    section: str = "system"

    @property
    def scopes(self) -> dict[Scope, str]:
        return MEANING
