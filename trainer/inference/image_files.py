"""Images in files, folders and zips, one after another, none of them unpacked to disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trainer.data.sources.archive import ZipEntry, check_images
from trainer.data.sources.layout import IMAGE_ENDINGS


class ImageFile(NamedTuple):
    """A file of that path, or an entry of a zip of that path. `name` is text that can be shown and written."""

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
    """In the order of their paths; one folder's names are held at a time. Links to folders are not followed."""

    path: str

    def __iter__(self) -> Iterator[ImageFile]:
        yield from _walk(self.path)


def open_paths(paths: Iterable[Path]) -> list[Iterable[ImageFile]]:
    """Each path's images, which can be gone through more than once. Raises BadStructure for a zip that is unsafe."""
    return [_opened(path) for path in paths]


def _opened(path: Path) -> Iterable[ImageFile]:
    if path.is_dir():
        return FolderImages(str(path))
    if path.suffix.lower() == ".zip" and path.is_file():
        return ZipImages(str(path), check_images(path), f"{_shown(str(path))}/")
    return [ImageFile(_shown(str(path)), str(path))]


def _walk(folder: str) -> Iterator[ImageFile]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.name.lower().endswith(IMAGE_ENDINGS) and entry.is_file():
            yield ImageFile(_shown(entry.path), entry.path)


def _shown(path: str) -> str:
    """Without the surrogates that stand for bytes which are not UTF-8."""
    return os.fsencode(path).decode(errors="replace")
