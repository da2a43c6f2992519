"""The password, stored as an scrypt hash together with the secret that signs the sessions.

scrypt is in the standard library. n = 2^17, r = 8, p = 1 take 128 MiB and a third of a second per attempt: OWASP's
first recommendation for scrypt (Password Storage Cheat Sheet). They are stored with each hash, so that they can be
increased.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import orjson

from app.auth.private_files import PRIVATE, CachedFile, locked
from trainer.system.durable import write_durably

FILE = "password.json"
MIN_LENGTH, MAX_LENGTH = 8, 1024
N, R, P = 2**17, 8, 1


class PasswordUnfit(ValueError):
    """The password is too short or too long."""


@dataclass(frozen=True)
class Password:
    """`secret` signs sessions: a new secret invalidates all of them. `n`, `r` and `p` are parameters of scrypt."""

    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes
    secret: bytes

    def matches(self, text: str) -> bool:
        return hmac.compare_digest(derive(text, self.salt, self.n, self.r, self.p), self.hash)


class PasswordFile:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: CachedFile[Password | None] = CachedFile(folder / FILE, _parse, None)

    def current(self) -> Password | None:
        """Return the password, or None if none is set. Raises DamagedFile."""
        return self._file.value()

    def set(self, text: str, *, n: int = N) -> None:
        """Set the password and end all sessions. Raises PasswordUnfit."""
        if not MIN_LENGTH <= len(text) <= MAX_LENGTH:
            raise PasswordUnfit(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.")
        salt = secrets.token_bytes(16)
        fresh = Password(n, R, P, salt, derive(text, salt, n, R, P), secrets.token_bytes(32))
        with locked(self._folder):
            self._write(fresh)

    def remove(self) -> bool:
        """Remove the password; return whether there was one."""
        with locked(self._folder):
            existed = self._file.path.exists()
            self._file.path.unlink(missing_ok=True)
        return existed

    def sign_everyone_out(self) -> bool:
        """End all sessions; return whether a password is set, as otherwise there are none. Raises DamagedFile."""
        with locked(self._folder):
            kept = self.current()
            if kept is None:
                return False
            self._write(Password(kept.n, kept.r, kept.p, kept.salt, kept.hash, secrets.token_bytes(32)))
        return True

    def _write(self, password: Password) -> None:
        values = {name: value.hex() if isinstance(value, bytes) else value for name, value in vars(password).items()}
        write_durably(self._file.path, orjson.dumps(values), mode=PRIVATE)


def derive(text: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    memory = 128 * r * (n + p + 2)
    # NFKC: the same characters have the same encoding, whatever the keyboard.
    data = unicodedata.normalize("NFKC", text).encode(errors="surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=2 * memory, dklen=32)


def _parse(data: bytes) -> Password:
    kept = orjson.loads(data)
    return Password(
        int(kept["n"]),
        int(kept["r"]),
        int(kept["p"]),
        bytes.fromhex(kept["salt"]),
        bytes.fromhex(kept["hash"]),
        bytes.fromhex(kept["secret"]),
    )
