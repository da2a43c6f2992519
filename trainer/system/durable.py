"""Atomic, durable writes, and deletion in two steps: after a kill or a power failure, a file is complete or absent."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SET_ASIDE = ".deleted-"
UNFINISHED = ".unfinished-"


def write_durably(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Replace `path` in one step, as `placed` does. One writer at a time: all use the same temporary file."""
    with placed(path, mode=mode, alone=True) as fresh:
        fresh.write_bytes(data)


@contextmanager
def placed(target: Path, *, mode: int = 0o600, alone: bool = False) -> Iterator[Path]:
    """Yield a new file beside `target`. At the end it is synced and renamed to `target`; a failure deletes it.

    It has `mode`, less the umask, from the start. `alone`: there is one writer at a time, so the temporary name is
    fixed, and what a killed writer left is replaced. Raises OSError.
    """
    fresh = target.with_name(f".{target.name}{'' if alone else '.' + secrets.token_hex(6)}.tmp")
    if alone:
        fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode))
    try:
        yield fresh
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.rename(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


@contextmanager
def placed_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, which is synced and renamed to `target` at the end.

    Raises FileExistsError: `target` exists by then. What a killed process leaves, `remove_set_aside` deletes.
    """
    fresh = target.with_name(f"{UNFINISHED}{target.name}-{secrets.token_hex(4)}")
    fresh.mkdir(parents=True)
    try:
        yield fresh
        sync_folder(fresh)
        try:
            fresh.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(f"{target} exists") from error
            raise
    except BaseException:
        remove_folder(fresh)
        raise
    sync_folder(target.parent)


def append_durably(path: Path, line: bytes) -> None:
    """Append one line with a single write and fsync. If the last line is incomplete, start a new one first."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)


def set_aside(folder: Path) -> Path:
    """Rename a folder that is to be deleted, within its parent, and return its new path for `remove_folder`.

    A transaction does this before it is committed, since the deletion itself takes too long. What a killed process
    has not deleted, `remove_set_aside` does. A folder that does not exist is no error.
    """
    hidden = folder.with_name(f"{SET_ASIDE}{folder.name}-{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):
        folder.rename(hidden)
        sync_folder(folder.parent)
    return hidden


def remove_set_aside(root: Path) -> None:
    """Delete the folders in `root` that were set aside, or that a killed process did not finish."""
    for prefix in (SET_ASIDE, UNFINISHED):
        for folder in root.glob(f"{prefix}*"):
            remove_folder(folder)


def remove_folder(path: Path) -> None:
    """Delete a folder, or a link to one but not what it leads to. What cannot be deleted is left where it is."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    _sync(folder, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make what was written to the file durable, by whichever descriptor."""
    _sync(path, 0)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
