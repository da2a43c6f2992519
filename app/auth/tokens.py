"""Tokens for programs: named, scoped, revocable. They have 256 random bits, so no slow hash is needed: SHA-256 is used.

They are in a file of the home, not in the database: they survive its loss, and a request needs no query.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.auth.private_files import PRIVATE, CachedFile, locked
from app.auth.scopes import Scope
from app.errors import ApiError, invalid, not_found
from trainer.system.durable import write_durably

FILE, USES = "tokens.json", "token-uses.json"
PREFIX = "trackside_"  # so that people and secret scanners recognize one
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Token:
    """`created` in seconds since the epoch."""

    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    created: float


class Tokens:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: CachedFile[dict[str, Token]] = CachedFile(folder / FILE, _parse, {})
        self._uses_file: CachedFile[dict[str, float]] = CachedFile(folder / USES, orjson.loads, {})
        self._uses: dict[str, float] = {}

    def list(self) -> list[tuple[Token, float | None]]:
        """Return the tokens by name, with the time of last use in seconds since the epoch. Raises DamagedFile."""
        uses = self._uses_file.value() | self._uses
        found = sorted(self._file.value().values(), key=lambda token: token.name)
        return [(token, uses.get(token.sha256)) for token in found]

    def add(self, name: str, scopes: Iterable[Scope]) -> str:
        """Create a token and return its text, which is not stored. Raises ApiError 409, 422."""
        chosen = tuple(sorted(set(scopes)))
        problems = []
        if not _NAME.fullmatch(name):
            reason = "at most 40 letters, digits, dots, dashes and underscores, a letter or digit first"
            problems.append((["name"], reason))
        if not chosen:
            problems.append((["scope"], "at least one is needed"))
        if problems:
            raise invalid(problems)
        text = PREFIX + secrets.token_urlsafe(32)
        with locked(self._folder):
            kept = self._file.value()
            if any(token.name == name for token in kept.values()):
                raise ApiError(409, "name_taken", f"There is a token {name!r} already: revoke it first.")
            self._write([*kept.values(), Token(name, chosen, _digest(text), time.time())])
        return text

    def revoke(self, name: str) -> None:
        """Remove a token. Raises ApiError 404."""
        with locked(self._folder):
            kept = self._file.value().values()
            left = [token for token in kept if token.name != name]
            if len(left) == len(kept):
                raise not_found("token", name)
            self._write(left)

    def any(self) -> bool:
        return bool(self._file.value())

    def find(self, text: str) -> Token | None:
        """Return the token with this text, and record its use. Raises DamagedFile.

        It is looked up by its hash, so that the duration reveals nothing about the tokens.
        """
        token = self._file.value().get(_digest(text))
        if token is not None:
            self._uses[token.sha256] = time.time()
        return token

    def write_uses(self) -> None:
        """Write the times of last use. The web process does this once per minute: no request waits for the disk."""
        kept = self._file.value()
        before = self._uses_file.value()
        uses = {key: when for key, when in (before | self._uses).items() if key in kept}
        if uses != before:
            with locked(self._folder):
                write_durably(self._uses_file.path, orjson.dumps(uses), mode=PRIVATE)

    def _write(self, tokens: Iterable[Token]) -> None:
        write_durably(self._file.path, orjson.dumps([vars(token) for token in tokens]), mode=PRIVATE)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _parse(data: bytes) -> dict[str, Token]:
    items: list[dict[str, Any]] = orjson.loads(data)
    return {
        item["sha256"]: Token(item["name"], tuple(map(Scope, item["scopes"])), item["sha256"], item["created"])
        for item in items
    }
