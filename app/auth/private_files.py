"""Files that their owner alone may read: whole or absent, and read again only when they are others than before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock

from app.errors import ApiError

PRIVATE = 0o600
T = TypeVar("T")
Stamp = tuple[int, int, int]  # inode, time of the last change in ns, size in bytes


class DamagedFile(ApiError):
    """A file that decides who may come in cannot be read: nobody is let in by it."""

    def __init__(self, path: Path) -> None:
        super().__init__(503, "access_unreadable", f"The file {path.name} of the server cannot be read.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone with the folder, which is made if need be; threads and processes wait for each other."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with FileLock(folder / "lock", mode=PRIVATE):
        yield


class CachedFile(Generic[T]):
    """What a file holds, parsed again only where the file is another than before. A look costs one stat: 2 µs.

    Threads share it without a lock: the stamp and the value that belong together are replaced by one assignment.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], absent: T) -> None:
        self.path = path
        self._parse = parse
        self._absent = absent
        self._read: tuple[Stamp | None, T] = (None, absent)

    def value(self) -> T:
        """Raises DamagedFile."""
        try:
            now = os.stat(self.path)  # noqa: PTH116 (twice as fast)
            # Taken before the file is read: a value may be newer than its stamp, and is read again then, never older.
            stamp = (now.st_ino, now.st_mtime_ns, now.st_size)
            known, value = self._read
            if stamp != known:
                value = self._parse(self.path.read_bytes())
                self._read = (stamp, value)
        except FileNotFoundError:
            value = self._absent
            self._read = (None, value)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedFile(self.path) from error
        return value
