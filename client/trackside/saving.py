"""Copies of images and saved files in the spool, under their SHA-256."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trackside.notices import say_once
from trackside.spool import SpooledSession

BLOCK = 1 << 20


@dataclass(frozen=True)
class Kept:
    source: str
    name: str  # as the run shows it
    sha256: str
    size: int


def copy_into(session: SpooledSession, pattern: str, base: str | None) -> Iterator[Kept]:
    """Copy the files that `pattern` names, and those in folders that it names. Unreadable files are told and left."""
    for path in _matching(pattern):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            try:
                sha256, size = _copy(session, file)
            except OSError as error:
                say_once(f"{file} is not saved: {error.strerror}")
                continue
            yield Kept(str(file), _name(file, path, base), sha256, size)


def _matching(pattern: str) -> list[Path]:
    """The path itself if it exists: its name may hold brackets."""
    path = Path(pattern)
    if path.exists():
        return [path]
    return sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 (the pattern may be absolute)


def keep_bytes(session: SpooledSession, data: bytes) -> str:
    """Keep `data` and return its SHA-256. A full disk is told once; the event then refers to a file that is missing."""
    sha256 = hashlib.sha256(data).hexdigest()
    target = session.files / sha256
    try:
        session.files.mkdir(exist_ok=True)
        if not target.exists():
            new = session.files / f".{sha256}.{os.getpid()}"
            new.write_bytes(data)
            new.replace(target)
    except OSError as error:
        say_once(f"{target}: {error.strerror}. Images are lost until this is corrected; the script goes on.")
    return sha256


def _copy(session: SpooledSession, file: Path) -> tuple[str, int]:
    session.files.mkdir(exist_ok=True)
    new = session.files / f".copy.{os.getpid()}"
    digest, size = hashlib.sha256(), 0
    try:
        with file.open("rb") as source, new.open("wb") as target:
            while block := source.read(BLOCK):
                digest.update(block)
                target.write(block)
                size += len(block)
        new.replace(session.files / digest.hexdigest())
    finally:
        new.unlink(missing_ok=True)
    return digest.hexdigest(), size


def _name(file: Path, matched: Path, base: str | None) -> str:
    """The file's path below `base`, below the matched folder, or below the working directory; else its name."""
    for folder in (Path(base) if base else None, Path.cwd()):
        if folder is not None:
            try:
                return file.absolute().relative_to(folder.absolute()).as_posix()
            except ValueError:
                continue
    return file.relative_to(matched.parent).as_posix()
