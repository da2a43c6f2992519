"""Links that show one run, comparison or report to whoever has them, until they are revoked or expire.

Only the hashes of their secrets are kept, as those of tokens are.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict

from app.auth.private_files import PRIVATE, CachedFile, locked
from app.errors import ApiError, not_found
from trainer.system.durable import write_durably

FILE = "shares.json"
MOST = 1_000
DAY_SECONDS = 86_400
Kind = Literal["run", "compare", "report"]


class Share(BaseModel):
    """A link to the run or report `target`, or to the comparison of the runs `target`, separated by commas.

    `created` and `expires` in seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    target: str
    title: str
    sha256: str
    created: float
    expires: float | None = None

    @property
    def is_valid(self) -> bool:
        return self.expires is None or time.time() < self.expires


class Shares:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: CachedFile[dict[str, Share]] = CachedFile(folder / FILE, _parse, {})

    def all(self) -> list[Share]:
        """Return the links that are valid, the newest first. Raises DamagedFile."""
        return sorted((share for share in self._file.value().values() if share.is_valid), key=lambda one: -one.created)

    def add(self, kind: Kind, target: str, title: str, days: int | None = None) -> tuple[Share, str]:
        """Create a link, and return it with its secret, which is not stored. Raises ApiError 409: there are MOST."""
        secret = secrets.token_urlsafe(32)
        now = time.time()
        expires = None if days is None else now + days * DAY_SECONDS
        share = Share(
            id=secrets.token_hex(5),
            kind=kind,
            target=target,
            title=title,
            sha256=_digest(secret),
            created=now,
            expires=expires,
        )
        with locked(self._folder):
            kept = self.all()
            if len(kept) >= MOST:
                raise ApiError(409, "too_many_shares", f"There are {MOST} share links: revoke one first.")
            self._write([*kept, share])
        return share, secret

    def revoke(self, share_id: str) -> None:
        """Raises ApiError 404."""
        with locked(self._folder):
            kept = self.all()
            left = [share for share in kept if share.id != share_id]
            if len(left) == len(kept):
                raise not_found("share link", share_id)
            self._write(left)

    def find(self, secret: str) -> Share | None:
        """Return the valid link of this secret. It is looked up by its hash, so that the duration reveals nothing."""
        share = self._file.value().get(_digest(secret))
        return share if share is not None and share.is_valid else None

    def _write(self, shares: list[Share]) -> None:
        write_durably(self._file.path, orjson.dumps([share.model_dump() for share in shares]), mode=PRIVATE)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _parse(data: bytes) -> dict[str, Share]:
    return {item["sha256"]: Share.model_validate(item) for item in orjson.loads(data)}
