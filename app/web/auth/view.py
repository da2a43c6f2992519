"""What the login page and the page of tokens show."""

from __future__ import annotations

from dataclasses import dataclass

from app.auth.scopes import MEANING, Scope
from app.auth.tokens import Token


@dataclass(frozen=True)
class LoginPage:
    """`/login`. `back` is the page that was wanted; `can` is false where no password is set and nobody can sign in."""

    back: str
    fault: str
    can: bool


@dataclass(frozen=True)
class TokensPage:
    """`/tokens`. Each token with its last use in seconds since the epoch; `made` is the new one, `name` its name."""

    tokens: tuple[tuple[Token, float | None], ...]
    made: str
    name: str
    password: bool
    section: str = "system"

    @property
    def scopes(self) -> dict[Scope, str]:
        return MEANING
