"""Sessions: a cookie says until when it holds, signed; those that were signed out before then are listed in a file."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from pathlib import Path

import orjson

from app.auth.private_files import Watched, locked, write_private

FILE = "signed-out.json"


class Sessions:
    def __init__(self, folder: Path, seconds: float) -> None:
        self.seconds = int(seconds)
        self._folder = folder
        self._ended: Watched[dict[str, int]] = Watched(folder / FILE, orjson.loads, {})

    def begin(self, secret: bytes) -> str:
        """The value of a new session's cookie: a name, when it ends in seconds since the epoch, the signature."""
        claim = f"{secrets.token_urlsafe(12)}.{int(time.time()) + self.seconds}"
        return f"{claim}.{_signature(secret, claim)}"

    def holds(self, secret: bytes, cookie: str) -> bool:
        """Raises DamagedFile."""
        claim, _, signature = cookie.rpartition(".")
        name, _, until = claim.partition(".")
        if not hmac.compare_digest(_signature(secret, claim).encode(), signature.encode(errors="replace")):
            return False
        return int(until) > time.time() and name not in self._ended.value()

    def end(self, cookie: str) -> None:
        """For a cookie that holds: from now on it does not. Raises DamagedFile."""
        name, until, _ = cookie.split(".")
        with locked(self._folder):
            now = time.time()
            ended = {other: end for other, end in self._ended.value().items() if end > now}
            write_private(self._ended.path, orjson.dumps(ended | {name: int(until)}))


def _signature(secret: bytes, claim: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret, claim.encode(errors="replace"), "sha256")).rstrip(b"=").decode()
