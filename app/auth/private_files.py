"""Files with mode 0600, locked while they are changed, and cached until they change."""

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
    """A file needed for authentication cannot be read: the request is refused."""

    def __init__(self, path: Path) -> None:
        super().__init__(503, "access_unreadable", f"The file {path.name} of the server cannot be read.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, exclusive among threads and processes. Creates the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with FileLock(folder / "lock", mode=PRIVATE):
        yield


class CachedFile(Generic[T]):
    """The parsed content of a file, parsed again only when the file has changed. Checking takes one stat: 2 µs.

    Threads share it without a lock: the stamp and its value are replaced by one assignment.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], absent: T) -> None:
        self.path = path
        self._parse = parse
        self._absent = absent
        self._read: tuple[Stamp | None, T] = (None, absent)

    def value(self) -> T:
        """Return the parsed content, or `absent` if there is no file. Raises DamagedFile."""
        try:
            now = os.stat(self.path)  # noqa: PTH116 (twice as fast)
            # Before the file is read: a value may be newer than its stamp and is then read again, but never older.
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
