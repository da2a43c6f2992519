"""Sessions: a signed cookie contains its expiry time; sessions that were ended before it are listed in a file."""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path

import orjson
from itsdangerous import BadSignature, Signer

from app.auth.private_files import PRIVATE, CachedFile, locked
from trainer.system.durable import write_durably

FILE = "signed-out.json"


class Sessions:
    def __init__(self, folder: Path, seconds: float) -> None:
        self.seconds = int(seconds)
        self._folder = folder
        self._ended: CachedFile[dict[str, int]] = CachedFile(folder / FILE, orjson.loads, {})

    def begin(self, secret: bytes) -> str:
        """Return a new session's cookie value: a name, the expiry time in seconds since the epoch, the signature."""
        name, until = secrets.token_urlsafe(12), int(time.time()) + self.seconds
        return _signer(secret).sign(f"{name}.{until}").decode()

    def holds(self, secret: bytes, cookie: str) -> bool:
        """Return whether the cookie's session is valid. Raises DamagedFile."""
        try:
            claim = _signer(secret).unsign(cookie.encode(errors="replace")).decode()
        except BadSignature:
            return False
        name, _, until = claim.partition(".")
        return int(until) > time.time() and name not in self._ended.value()

    def end(self, cookie: str) -> None:
        """End the session of a valid cookie. Raises DamagedFile."""
        name, until, _ = cookie.split(".")
        with locked(self._folder):
            now = time.time()
            ended = {other: end for other, end in self._ended.value().items() if end > now}
            write_durably(self._ended.path, orjson.dumps(ended | {name: int(until)}), mode=PRIVATE)


def _signer(secret: bytes) -> Signer:
    """Signs a session's name and end.

    Not its start, as TimestampSigner does: an ended session is forgotten after its end, and must not become valid again
    when the settings give sessions a longer life. The secret is 32 random bytes that sign nothing else: no key needs to
    be derived from it.
    """
    return Signer(secret, key_derivation="none", digest_method=hashlib.sha256)
