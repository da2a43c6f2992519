"""A folder of images on this machine's disk."""

import os
from dataclasses import dataclass
from pathlib import Path

from trainer.data.archive import Limits
from trainer.data.errors import BadLayout, UnreadableImage
from trainer.data.layout import Layout, plan_layout


@dataclass(frozen=True)
class FolderSource:
    path: Path
    largest_file: int = Limits().entry_bytes

    def read(self, member: str) -> bytes:
        """Raises UnreadableImage."""
        path = self.path / member
        try:
            if not path.is_file():
                raise UnreadableImage("This is not a regular file.")
            if path.stat().st_size > self.largest_file:
                raise UnreadableImage(f"The file is larger than {self.largest_file:,} bytes.")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"The file cannot be read: {error.strerror}.") from None

    def close(self) -> None:
        """Nothing is held open."""


def check_folder(path: Path, limits: Limits = Limits(), *, seed: int = 0) -> Layout:
    """Links to files are followed, links to folders are not. Raises BadLayout."""
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
