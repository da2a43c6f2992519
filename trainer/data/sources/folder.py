"""A folder of images on a local disk."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.data.errors import BadLayout, BadManifest, UnreadableImage
from trainer.data.sources.archive import Limits
from trainer.data.sources.labelled import Labelling, plan_import
from trainer.data.sources.manifest import LARGEST_BYTES
from trainer.data.sources.members import Layout
from trainer.data.sources.names import is_junk
from trainer.data.sources.paths import cannot_read


@dataclass(frozen=True)
class FolderSource:
    path: Path
    largest_file: int = Limits().entry_bytes

    def read(self, member: str) -> bytes:
        """Raises UnreadableImage."""
        return read_file(self.path / member, self.largest_file)

    def close(self) -> None:
        """Do nothing: no file stays open."""


def read_file(path: Path, largest: int = Limits().entry_bytes) -> bytes:
    """Read a regular file of at most `largest` bytes.

    Raises UnreadableImage, also for pipes and other special files: reading one might never end.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage("This is not a regular file.")
        if found.st_size > largest:
            raise UnreadableImage(f"The file is larger than {largest:,} bytes.")
        with path.open("rb", buffering=0) as file:
            return file.readall()
    except OSError as error:
        raise UnreadableImage(f"The file cannot be read: {error.strerror}.") from None


def check_folder(path: Path, limits: Limits = Limits(), *, labelling: Labelling = Labelling(), seed: int = 0) -> Layout:
    """Return the layout of a folder. Links are followed. Raises BadLayout, BadManifest, BadOption, UnreadableSource."""
    files: list[str] = []
    folders: list[str] = []
    for name, is_folder in _walk(path):
        (folders if is_folder else files).append(name)
        if len(files) + len(folders) > limits.entries:
            raise BadLayout(f"The folder holds more than {limits.entries:,} files and folders.", detail=[])

    def read(name: str) -> bytes:
        try:
            return read_file(path / name, LARGEST_BYTES)
        except UnreadableImage as error:
            raise BadManifest(f"{name}: {error.message}", detail=[]) from None

    return plan_import(files, folders, read, labelling, seed=seed)


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Yield the relative path of all below `root`, and whether it is a folder. Raises UnreadableSource.

    A link to a folder that contains it is passed over, hidden folders and those of operating systems are too.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        name, above = waiting.pop()
        folder = root / name
        try:
            found = folder.stat()
            if (identity := (found.st_dev, found.st_ino)) in above:
                continue
            with os.scandir(folder) as entries:
                inner = [(entry.name, _is_folder(entry)) for entry in entries]
        except OSError as error:
            raise cannot_read(Path(error.filename or folder), error) from None
        if name:
            yield name, True
        prefix = f"{name}/" if name else ""
        for part, is_folder in inner:
            if not is_folder:
                yield prefix + part, False
            elif not is_junk((part,)):
                waiting.append((prefix + part, above | {identity}))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError:
        raise
    except OSError:
        return False  # a link that leads nowhere: reading it gives the reason
