"""A folder of images on a local disk."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from trainer.data.errors import BadLayout, UnreadableImage
from trainer.data.sources.archive import Limits
from trainer.data.sources.layout import Layout, plan_layout


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


def check_folder(path: Path, limits: Limits = Limits(), *, seed: int = 0) -> Layout:
    """Return the layout of a folder. Links to files are followed, links to folders are not. Raises BadLayout."""
    files: list[str] = []
    folders: list[str] = []
    for parent, inner, names in os.walk(path):
        inside = Path(parent).relative_to(path).as_posix()
        prefix = "" if inside == "." else inside + "/"
        inner[:] = [name for name in inner if not name.startswith(".")]
        files += [prefix + name for name in names]
        folders += [prefix + name for name in inner]
        if len(files) > limits.entries:
            raise BadLayout(f"The folder holds more than {limits.entries:,} files.", detail=[])
    return plan_layout(files, folders, seed=seed)
