"""A zip of images. Its structure is checked before anything is written, and it is never extracted: images are
decoded directly from it.

Sources of the checks: https://docs.python.org/3/library/zipfile.html#decompression-pitfalls and
D. Fifield, "A better zip bomb" (WOOT 2019), whose entries overlap.
"""

import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from trainer.data.confined import SECONDS_PER_IMAGE
from trainer.data.errors import BadArchive, UnreadableImage
from trainer.data.sources.layout import Layout, plan_layout
from trainer.data.sources.names import is_image, is_junk, refuse_names

_ARCHIVE_ENDINGS = (".zip", ".jar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL_HEADER_BYTES = 30
_END_RECORD = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64_RECORD = struct.Struct("<4sQ2H2L4Q")
_NAMED_PROBLEMS = 100

# Raised by zipfile on truncated or altered entries, and on unknown compression methods.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Limits:
    """Limits of an import. Sizes are in bytes, uncompressed."""

    entries: int = 1_000_000
    directory_bytes: int = 256 << 20
    total_bytes: int = 64 << 30
    entry_bytes: int = 256 << 20
    ratio: float = 100
    ratio_from_bytes: int = 64 << 10  # entries below this size may have any ratio
    pixels: int = 50_000_000
    seconds: float = SECONDS_PER_IMAGE  # to decode an image


@dataclass(frozen=True)
class ArchiveSource:
    """Reads members of a zip. Each process opens the file on first use."""

    path: Path

    def read(self, member: str) -> bytes:
        """Raises UnreadableImage."""
        try:
            return self._archive.read(member)
        except (*_ZIP_ERRORS, KeyError) as error:
            raise UnreadableImage(f"The zip's entry cannot be read: {error}.") from None

    def close(self) -> None:
        if "_archive" in self.__dict__:
            self.__dict__.pop("_archive").close()

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)


class ZipEntry(NamedTuple):
    """Location of an image in a zip. It is read without the zip's directory, which may have a million entries."""

    name: str
    offset: int
    packed: int
    size: int
    method: int
    crc: int

    def read(self, fd: int) -> bytes:
        """Read the entry from `fd`, an open zip, and check its CRC. Raises UnreadableImage, OSError."""
        header = os.pread(fd, _LOCAL_HEADER_BYTES, self.offset)
        if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(b"PK\3\4"):
            raise UnreadableImage("The zip's entry cannot be read: its header is missing.")
        before = _LOCAL_HEADER_BYTES + sum(struct.unpack_from("<2H", header, 26))  # name and extra fields follow
        data = os.pread(fd, self.packed, self.offset + before)
        if self.method == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.size + 1)
            except zlib.error as error:
                raise UnreadableImage(f"The zip's entry cannot be read: {error}.") from None
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise UnreadableImage("The zip's entry cannot be read: it is cut short or altered.")
        return data


def check_archive(path: Path, limits: Limits = Limits(), *, seed: int = 0) -> Layout:
    """Return the layout of a dataset's zip. Reads only the zip's directory. Raises BadArchive or BadLayout."""
    entries = check_entries(path, limits)
    files = [entry.filename for entry in entries if not entry.is_dir()]
    folders = [entry.filename for entry in entries if entry.is_dir()]
    return plan_layout(files, folders, seed=seed)


def check_images(path: Path, limits: Limits = Limits()) -> tuple[ZipEntry, ...]:
    """Return the images of a zip in its order, in any folders. Reads only its directory. Raises BadStructure."""
    entries = [entry for entry in check_entries(path, limits) if is_image(tuple(entry.filename.split("/")))]
    if not entries:
        raise BadArchive("There are no images in the zip.", detail=[])
    refuse_names([tuple(entry.filename.split("/")) for entry in entries])
    return tuple(
        ZipEntry(
            entry.filename, entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC
        )
        for entry in entries
    )


def check_entries(path: Path, limits: Limits = Limits()) -> list[zipfile.ZipInfo]:
    """Return the zip's entries if all are safe to read. Raises BadArchive, whose detail lists the problems."""
    try:
        _check_directory_size(path, limits)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            before = archive.start_dir
    except _ZIP_ERRORS as error:
        raise BadArchive(f"This is not a zip that can be read: {error}.", detail=[]) from None
    problems = [*_total_problems(entries, before, limits)]
    for entry in entries:
        problems += [f"{_shown(entry)}: {problem}" for problem in _entry_problems(entry, limits)]
    problems += _clashes(entries)
    if problems:
        named = problems[:_NAMED_PROBLEMS]
        if len(problems) > len(named):
            named.append(f"and {len(problems) - len(named):,} more")
        raise BadArchive(f"The zip is refused: {problems[0]}.", detail=named)
    return entries


def _check_directory_size(path: Path, limits: Limits) -> None:
    """Check the directory's size before zipfile, which creates an object per entry, reads it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 65535 - _END_RECORD.size - _END64_LOCATOR.size))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END_RECORD.size:
            raise zipfile.BadZipFile("its end is missing")
        directory = _END_RECORD.unpack_from(tail, at)[5]
        locator_at = at - _END64_LOCATOR.size
        if locator_at >= 0 and tail.startswith(b"PK\6\7", locator_at):
            file.seek(_END64_LOCATOR.unpack_from(tail, locator_at)[2])
            record = file.read(_END64_RECORD.size)
            if len(record) < _END64_RECORD.size:
                raise zipfile.BadZipFile("its zip64 end is missing")
            directory = _END64_RECORD.unpack(record)[8]
    if directory > limits.directory_bytes:
        raise BadArchive(f"The zip's directory takes {directory:,} bytes; that is too many.", detail=[])


def _total_problems(entries: list[zipfile.ZipInfo], directory_start: int, limits: Limits) -> Iterator[str]:
    if len(entries) > limits.entries:
        yield f"{len(entries):,} entries; at most {limits.entries:,} are taken"
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if total > limits.total_bytes:
        yield f"{total:,} bytes once unpacked; at most {limits.total_bytes:,} are taken"
    if total > limits.ratio_from_bytes and total > limits.ratio * packed:
        yield f"it unpacks to more than {limits.ratio:g} times its size"
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size for entry in ordered]
    starts = [entry.header_offset for entry in ordered[1:]] + [directory_start]
    if any(end > start for end, start in zip(ends, starts, strict=False)):
        yield "entries overlap"


def _entry_problems(entry: zipfile.ZipInfo, limits: Limits) -> Iterator[str]:
    parts = entry.filename.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if "\0" in entry.orig_filename:
        yield "a NUL in its name"
    if "\\" in entry.orig_filename:
        yield "a backslash in its name"
    if entry.filename.startswith("/") or parts[0][1:2] == ":":
        yield "an absolute name"
    elif any(part in ("", ".", "..") for part in parts):
        yield "a name that leads outside, or nowhere"
    if kind == stat.S_IFLNK:
        yield "a link"
    elif kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
        yield "neither a file nor a folder"
    if entry.flag_bits & 0x1:
        yield "encrypted"
    if entry.compress_type not in _METHODS:
        yield f"compressed by a method that is not taken ({entry.compress_type})"
    if entry.file_size > limits.entry_bytes:
        yield f"{entry.file_size:,} bytes; at most {limits.entry_bytes:,} are taken"
    if entry.file_size > limits.ratio_from_bytes and entry.file_size > limits.ratio * entry.compress_size:
        yield f"it unpacks to more than {limits.ratio:g} times its size"
    if not entry.is_dir() and entry.filename.lower().endswith(_ARCHIVE_ENDINGS) and not is_junk(tuple(parts)):
        yield "an archive within the archive"


def _clashes(entries: list[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield names that would be the same file, or a file and a folder, on a case-insensitive file system."""
    spelling: dict[str, str] = {}
    files: set[str] = set()
    parents: set[str] = set()
    for entry in entries:
        name = entry.filename.rstrip("/")
        key = _folded(name)
        if spelling.setdefault(key, name) != name or (not entry.is_dir() and key in files):
            yield f"{_shown(entry)}: a name that clashes with another's"
        (parents if entry.is_dir() else files).add(key)
        while "/" in name:
            name = name.rpartition("/")[0]
            key = _folded(name)
            if spelling.setdefault(key, name) != name:
                yield f"{_shown(entry)}: a folder whose name clashes with another's"
            if key in parents:
                break
            parents.add(key)
    for key in sorted(files & parents):
        yield f"{spelling[key]!r}: both a file and a folder"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _shown(entry: zipfile.ZipInfo) -> str:
    name = entry.orig_filename
    return repr(name if len(name) <= 200 else name[:200] + "…")
