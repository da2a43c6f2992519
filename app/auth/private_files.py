"""Files that their owner alone may read: whole or absent, and read again only when they are others than before."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from app.errors import ApiError
from trainer.system.durable import sync_folder

T = TypeVar("T")
Stamp = tuple[int, int, int]  # inode, time of the last change in ns, size in bytes


class DamagedFile(ApiError):
    """A file that decides who may come in cannot be read: nobody is let in by it."""

    def __init__(self, path: Path) -> None:
        super().__init__(503, "access_unreadable", f"The file {path.name} of the server cannot be read.")


def write_private(path: Path, data: bytes) -> None:
    """As `write_durably`, with mode 0600 from the first byte on. One writer at a time: see `locked`."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(file, "wb") as opened:  # noqa: PTH123 (a descriptor)
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone with the folder, which is made if need be; processes wait for each other."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


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
