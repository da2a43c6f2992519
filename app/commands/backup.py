"""A tar of all that is kept, taken while anything runs, and a home made from one.

The database is left out: it is an index, which `reindex` makes again from what is here.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from app.settings import Settings
from trainer.rundir.folder import RunDir

KEPT = ("access", "datasets", "models.jsonl", "runs", "tasks", "weights")
NAMES = RunDir(Path())
FLEETING = frozenset({NAMES.lock.name, NAMES.owner.name})


class CannotRestore(Exception):
    """Where a home is to be, there is one."""


def back_up(settings: Settings, target: Path) -> int:
    """Write `target`, which must not exist, and give the number of files in it. Raises OSError."""
    if target.exists():
        raise FileExistsError(f"{target} exists.")
    aside = target.with_name(f".{target.name}.tmp")
    count = 0
    try:
        # Password and tokens are in it.
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            with tarfile.open(fileobj=out, mode="w|") as archive:
                for folder in folders(settings.home):
                    count += add_folder(archive, settings.home, folder)
            out.flush()
            os.fsync(out.fileno())
        aside.rename(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return count


def folders(home: Path) -> Iterator[Path]:
    """What is copied at one moment each: a run, a task, a data set, or all else that has a name."""
    for name in KEPT:
        path = home / name
        if name in ("runs", "tasks", "datasets") and path.is_dir():
            yield from sorted(child for child in path.iterdir() if child.is_dir())
        elif path.exists():
            yield path


def add_folder(archive: tarfile.TarFile, home: Path, folder: Path) -> int:
    """Checkpoints are all opened before the first is copied: one that is superseded meanwhile can still be read.

    They come first: an event file only grows, and what comes before a checkpoint is in it once that is.
    """
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    paths = [path for path in paths if path.name not in FLEETING and not path.name.endswith(".tmp")]
    count = 0
    with ExitStack() as stack:
        opened: list[tuple[Path, BinaryIO]] = []
        for path in paths:
            if path.parent.name == NAMES.checkpoints.name:
                with suppress(FileNotFoundError):
                    opened.append((path, stack.enter_context(path.open("rb"))))
        for path, file in opened:
            count += add_file(archive, home, path, file)
    for path in paths:  # a run may hold thousands: one at a time
        if path.parent.name != NAMES.checkpoints.name:
            with suppress(FileNotFoundError), path.open("rb") as file:
                count += add_file(archive, home, path, file)
    return count


def add_file(archive: tarfile.TarFile, home: Path, path: Path, file: BinaryIO) -> int:
    archive.addfile(archive.gettarinfo(arcname=str(path.relative_to(home)), fileobj=file), file)
    return 1


def restore(settings: Settings, source: Path) -> None:
    """Unpack into the home, which must be empty or absent. Raises CannotRestore, OSError, tarfile.TarError."""
    home = settings.home
    if home.exists() and any(home.iterdir()):
        raise CannotRestore(f"{home.resolve()} is not empty: name another with TRACKSIDE_HOME.")
    home.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source) as archive:
        archive.extractall(home, filter="data")
