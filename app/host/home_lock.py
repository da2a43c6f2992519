"""The lock on a home, so that `trackside serve` and `trackside reindex` never run on it at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from app.errors import CommandError


class HomeInUse(CommandError):
    """Another process holds the lock of this home."""


@contextmanager
def home_lock(home: Path) -> Iterator[None]:
    """Hold the lock of `home`, created if missing. Raises HomeInUse immediately if another process holds it."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HomeInUse(f"`trackside serve` is already running on {home.resolve()}: end it first.") from None
    try:
        yield
    finally:
        lock.release()
