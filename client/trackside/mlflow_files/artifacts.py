"""The images among a run's artifacts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
# What `log_image` makes of a key, with % before MLflow 2.13 and + since. Besides there is a small copy of each.
LOGGED = re.compile(r"images/(.+)([%+])step\2(-?\d+)\2timestamp\2(\d+)\2[0-9a-fA-F-]+(\2compressed)?\.\w+")
SLASHES = {"%": "#", "+": "~"}  # what stands for a slash


@dataclass(frozen=True)
class StoredImage:
    path: Path
    key: str
    step: int
    time: int  # UNIX milliseconds; 0 if it is not known


def images_in(folder: Path | None) -> tuple[list[StoredImage], int]:
    """Return the images, and the number of the other files."""
    images: list[StoredImage] = []
    others = 0
    for path in sorted(folder.rglob("*")) if folder is not None else []:
        if not path.is_file():
            continue
        name = path.relative_to(folder or path).as_posix()
        logged = LOGGED.fullmatch(name)
        if logged is None and path.suffix.lower() in SUFFIXES:
            images.append(StoredImage(path, name, 0, 0))
        elif logged is None:
            others += 1
        elif not logged[5]:
            key = logged[1].replace(SLASHES[logged[2]], "/")
            images.append(StoredImage(path, key, int(logged[3]), int(logged[4])))
    return images, others
