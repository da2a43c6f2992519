"""A zip of images. Its structure is checked before anything is written, and it is never extracted: images are
decoded directly from it.

Sources of the checks: https://docs.python.org/3/library/zipfile.html#decompression-pitfalls and
D. Fifield, "A better zip bomb" (WOOT 2019), whose entries overlap.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from trainer.data.confined import SECONDS_PER_IMAGE
from trainer.data.errors import BadArchive, BadManifest, UnreadableImage
from trainer.data.sources.labelled import Labelling, plan_import
from trainer.data.sources.members import Layout
from trainer.data.sources.names import LONGEST_PATH, composed, is_image, is_junk, refuse_names

_ARCHIVE_ENDINGS = (".zip", ".jar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL_HEADER_BYTES = 30
_END_RECORD = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64_RECORD = struct.Struct("<4sQ2H2L4Q")
_NAMED_PROBLEMS = 100
_UTF8_FLAG = 0x800
_LEADING_DOTS = re.compile(r"^(\./)+")

NamedEntry = tuple[str, zipfile.ZipInfo]

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
            return self._archive.read(self._entries[member])
        except (*_ZIP_ERRORS, KeyError) as error:
            raise UnreadableImage(f"The zip's entry cannot be read: {error}.") from None

    def close(self) -> None:
        self.__dict__.pop("_entries", None)
        if "_archive" in self.__dict__:
            self.__dict__.pop("_archive").close()

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    @cached_property
    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        return dict(name_entries(self._archive.infolist()))


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


def check_archive(
    path: Path, limits: Limits = Limits(), *, labelling: Labelling = Labelling(), seed: int = 0
) -> Layout:
    """Return the layout of a dataset's zip. Reads only the zip's directory, and a manifest.

    Raises BadArchive, BadLayout, BadManifest, BadOption.
    """
    names = [name for name, _ in check_entries(path, limits)]
    files = [name for name in names if not name.endswith("/")]
    folders = [name for name in names if name.endswith("/")]
    source = ArchiveSource(path)

    def read(name: str) -> bytes:
        try:
            return source.read(name)
        except UnreadableImage as error:
            raise BadManifest(f"{name}: {error.message}", detail=[]) from None

    try:
        return plan_import(files, folders, read, labelling, seed=seed)
    finally:
        source.close()


def check_images(path: Path, limits: Limits = Limits()) -> tuple[ZipEntry, ...]:
    """Return the files of a zip in its order, in any folders, without those of operating systems. Decoding tells which
    are images. Reads only the zip's directory. Raises BadStructure, also if no name is that of an image.
    """
    entries = [
        (name, entry)
        for name, entry in check_entries(path, limits)
        if not name.endswith("/") and not is_junk(tuple(name.split("/")))
    ]
    if not any(is_image(parts := tuple(name.split("/"))) or "." not in parts[-1] for name, _ in entries):
        raise BadArchive("There are no images in the zip.", detail=[])
    refuse_names([tuple(name.split("/")) for name, _ in entries])
    return tuple(
        ZipEntry(name, entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC)
        for name, entry in entries
    )


def check_entries(path: Path, limits: Limits = Limits()) -> list[NamedEntry]:
    """Return the zip's entries if all are safe to read. Raises BadArchive, whose detail lists the problems."""
    try:
        _check_directory_size(path, limits)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            before = archive.start_dir
    except _ZIP_ERRORS as error:
        raise BadArchive(f"This is not a zip that can be read: {error}.", detail=[]) from None
    problems = [*_total_problems(entries, before, limits)]
    named = name_entries(entries)
    for name, entry in named:
        problems += [f"{_shown(name)}: {problem}" for problem in _entry_problems(name, entry, limits)]
    problems = problems or [*_clashes(name for name, _ in named)]
    if problems:
        shown = problems[:_NAMED_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown):,} more")
        raise BadArchive(f"The zip is refused: {problems[0]}.", detail=shown)
    return named


def name_entries(entries: Iterable[zipfile.ZipInfo]) -> list[NamedEntry]:
    """Return each entry with its name as Unicode text in composed form, with / between folders and without a leading ./

    A folder's name ends with /. The page's preview reads names by the same rules (static/js/lib/zip.js).
    """
    named = [(_decoded(entry), entry) for entry in entries]
    if not any("/" in name for name, _ in named):  # as PowerShell 5 and other programs on Windows write them
        named = [(name.replace("\\", "/"), entry) for name, entry in named]
    named = [(composed(_LEADING_DOTS.sub("", name)), entry) for name, entry in named]
    return [(name, entry) for name, entry in named if name]  # "./" itself has become empty


def _decoded(entry: zipfile.ZipInfo) -> str:
    """The name, read as UTF-8 where that is valid (macOS does not set the flag for it), else as code page 437."""
    name = entry.orig_filename
    if name.isascii() or entry.flag_bits & _UTF8_FLAG:
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeDecodeError:
        return name


def _check_directory_size(path: Path, limits: Limits) -> None:
    """Check the directory's size before zipfile, which creates an object per entry, reads it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 65535 - _END_RECORD.size - _END64_LOCATOR.size))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END_RECORD.size:
            raise zipfile.BadZipFile("truncated file (no end-of-central-directory)")
        directory = _END_RECORD.unpack_from(tail, at)[5]
        locator_at = at - _END64_LOCATOR.size
        if locator_at >= 0 and tail.startswith(b"PK\6\7", locator_at):
            file.seek(_END64_LOCATOR.unpack_from(tail, locator_at)[2])
            record = file.read(_END64_RECORD.size)
            if len(record) < _END64_RECORD.size:
                raise zipfile.BadZipFile("truncated file (no zip64 end-of-central-directory)")
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


def _entry_problems(name: str, entry: zipfile.ZipInfo, limits: Limits) -> Iterator[str]:
    if len(name) > LONGEST_PATH:
        yield f"a name longer than {LONGEST_PATH:,} characters"
        return  # looking at its folders would take memory quadratic in its length
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if "\0" in name:
        yield "a NUL in its name"
    if "\\" in name:
        yield "a backslash in its name"
    if name.startswith("/") or parts[0][1:2] == ":":
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
    if name.lower().endswith(_ARCHIVE_ENDINGS) and not is_junk(tuple(parts)):
        yield "an archive within the archive"


def _clashes(names: Iterable[str]) -> Iterator[str]:
    """Yield names that two files have, or a file and a folder."""
    # With NUL between folders, which no name contains, all that is inside a folder follows the folder's name.
    ordered = sorted(name.replace("/", "\0") for name in names)
    for name, following in pairwise(ordered):
        if name.endswith("\0"):
            continue
        if following == name:
            yield f"{_shown(name)}: a name that clashes with another's"
        elif following.startswith(f"{name}\0"):
            yield f"{_shown(name)}: both a file and a folder"


def _shown(name: str) -> str:
    name = name.replace("\0", "/")
    return repr(name if len(name) <= 200 else name[:200] + "…")
