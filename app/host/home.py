"""The home's folder, and who may read what is in it.

A new home is readable by its owner only, and so is every home with a password. Without a password, an existing home
keeps its mode: its owner may share it with a group. New files follow the home's mode by way of the umask, which
trainers inherit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.errors import CommandError
from app.settings import Settings

OTHERS = 0o077  # permission bits of the group and of others


class HomeUnusable(CommandError):
    """The home is not a folder that this user may write."""


def open_home(settings: Settings, *, private: bool) -> None:
    """Create the home if it is missing, make it private if `private`, and set this process's umask accordingly.

    Raises HomeUnusable: it cannot be created or written.
    """
    home = settings.home
    try:
        home.mkdir(mode=0o777 & ~OTHERS, parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(home, str(error.strerror)) from None
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise unusable(home, "Permission denied")
    if private and any(readable_by_others(settings)):
        make_private(settings)
    if not is_open(home):
        os.umask(OTHERS)


def unusable(home: Path, reason: str) -> HomeUnusable:
    return HomeUnusable(
        f"The home {home.resolve()} cannot be used: {reason}. Set TRACKSIDE_HOME to a folder that this user may write."
    )


def is_open(path: Path) -> bool:
    """Return whether the group or others have any permission."""
    return bool(path.stat().st_mode & OTHERS)


def readable_by_others(settings: Settings) -> Iterator[Path]:
    """Yield the home, its entries and the database's files, as far as others than the owner have a permission."""
    paths = [settings.home, *settings.home.glob("*"), *database_files(settings)]
    for path in dict.fromkeys(paths):
        with suppress(FileNotFoundError):
            if not path.is_symlink() and not path.is_socket() and is_open(path):
                yield path


def database_files(settings: Settings) -> Iterator[Path]:
    """Yield the files of an SQLite database, which may be outside the home."""
    path = settings.url.database
    if settings.url.get_backend_name() == "sqlite" and path:
        yield from (file for file in (Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")) if file.exists())


def make_private(settings: Settings) -> None:
    """Take the permissions of others from everything in the home; what links lead to is left alone."""
    for path in (settings.home, *walk(settings.home), *database_files(settings)):
        with suppress(FileNotFoundError, PermissionError):  # removed meanwhile; another user's: doctor names it
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o7777 & ~OTHERS)


def walk(home: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            yield Path(folder, name)
