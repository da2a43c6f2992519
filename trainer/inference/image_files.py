"""Iterate over the files in folders and zips, without unpacking them to disk.

Every file is returned whatever its name, so that each gets a prediction or an error; only the files that operating
systems leave behind (trainer/data/sources/names.py) are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trainer.data.sources.archive import ZipEntry, check_images
from trainer.data.sources.names import is_junk


class ImageFile(NamedTuple):
    """The file at `path`, or an entry of the zip at `path`. `name` is valid text that can be shown and written."""

    name: str
    path: str
    entry: ZipEntry | None = None


@dataclass(frozen=True)
class ZipImages:
    path: str
    entries: Sequence[ZipEntry]
    prefix: str = ""

    def __iter__(self) -> Iterator[ImageFile]:
        for entry in self.entries:
            yield ImageFile(self.prefix + entry.name, self.path, entry)


@dataclass(frozen=True)
class FolderImages:
    """Files in the order of their paths. Folders are listed one at a time; links to folders are not followed."""

    path: str

    def __iter__(self) -> Iterator[ImageFile]:
        yield from _walk(self.path)


def open_paths(paths: Iterable[Path]) -> list[Iterable[ImageFile]]:
    """Return the files of each path, which can be iterated repeatedly. Raises BadStructure: a zip is unsafe."""
    return [_opened(path) for path in paths]


def _opened(path: Path) -> Iterable[ImageFile]:
    if path.is_dir():
        return FolderImages(str(path))
    if path.suffix.lower() == ".zip" and path.is_file():
        return ZipImages(str(path), check_images(path), f"{_printable(str(path))}/")
    return [ImageFile(_printable(str(path)), str(path))]


def _walk(folder: str) -> Iterator[ImageFile]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if is_junk((entry.name,)):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        else:
            yield ImageFile(_printable(entry.path), entry.path)


def _printable(path: str) -> str:
    """Replace the surrogates that stand for bytes which are not UTF-8."""
    return os.fsencode(path).decode(errors="replace")
