"""Back up the home to a tar file while the server and trainers run, and restore a home from one.

The database is left out: it is an index, which `reindex` rebuilds from the files in the archive.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from app.settings import Settings
from trainer.rundir.folder import RunDir
from trainer.system.durable import placed

BACKED_UP = (
    "access",
    "alerts",
    "datasets",
    "models.jsonl",
    "reports",
    "runs",
    "searches",
    "tasks",
    "views.json",
    "weights",
)
NAMES = RunDir(Path())
EPHEMERAL = frozenset({NAMES.lock.name, NAMES.owner.name})


class CannotRestore(Exception):
    """The home to restore into is not empty."""


def back_up(settings: Settings, target: Path) -> int:
    """Write the archive `target` and return its number of files. Raises FileExistsError: it exists; OSError."""
    if target.exists():
        raise FileExistsError(f"{target} exists.")
    count = 0
    # Readable by the owner only: the archive contains the password and the tokens.
    with placed(target, mode=0o600, alone=True) as fresh, tarfile.open(fresh, mode="w|") as archive:
        for folder in folders(settings.home):
            count += add_folder(archive, settings.home, folder)
    return count


def folders(home: Path) -> Iterator[Path]:
    """Yield what is copied as one unit: each run, task and dataset, and each other path of BACKED_UP."""
    for name in BACKED_UP:
        path = home / name
        if name in ("runs", "searches", "tasks", "datasets") and path.is_dir():
            yield from sorted(child for child in path.iterdir() if child.is_dir())
        elif path.exists():
            yield path


def add_folder(archive: tarfile.TarFile, home: Path, folder: Path) -> int:
    """Add the files of `folder`, or the file `folder`, and return how many were added.

    All checkpoints are opened before the first is copied: one that is superseded meanwhile can still be read. They are
    copied before the event files, which only grow: the events that precede a checkpoint are then in the archive.
    """
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    paths = [path for path in paths if path.name not in EPHEMERAL and not path.name.endswith(".tmp")]
    count = 0
    with ExitStack() as stack:
        opened: list[tuple[Path, BinaryIO]] = []
        for path in paths:
            if path.parent.name == NAMES.checkpoints.name:
                with suppress(FileNotFoundError):
                    opened.append((path, stack.enter_context(path.open("rb"))))
        for path, file in opened:
            count += add_file(archive, home, path, file)
    for path in paths:  # a run may have thousands of files: open one at a time
        if path.parent.name != NAMES.checkpoints.name:
            with suppress(FileNotFoundError), path.open("rb") as file:
                count += add_file(archive, home, path, file)
    return count


def add_file(archive: tarfile.TarFile, home: Path, path: Path, file: BinaryIO) -> int:
    archive.addfile(archive.gettarinfo(arcname=str(path.relative_to(home)), fileobj=file), file)
    return 1


def restore(settings: Settings, source: Path) -> None:
    """Unpack `source` into the home. Raises CannotRestore: the home is not empty; OSError; tarfile.TarError."""
    home = settings.home
    if home.exists() and any(home.iterdir()):
        raise CannotRestore(f"{home.resolve()} is not empty: name another with TRACKSIDE_HOME.")
    home.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source) as archive:
        archive.extractall(home, filter="data")
