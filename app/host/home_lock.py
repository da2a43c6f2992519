"""The lock that `trackside serve` holds on its home, so that no second one and no rebuild runs beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class HomeInUse(RuntimeError):
    """A `trackside serve` runs on this home."""


@contextmanager
def home_lock(home: Path) -> Iterator[None]:
    """Hold the home, which is made if need be. Raises HomeInUse at once where another process holds it."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "serve.lock", mode=0o644)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HomeInUse(f"`trackside serve` is already running on {home.resolve()}: end it first.") from None
    try:
        yield
    finally:
        lock.release()
