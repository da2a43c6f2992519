"""The log of a `.wandb` file: a LevelDB log behind a header of seven bytes.

Blocks of 32 KiB hold chunks: CRC-32 (of zlib, not masked) over type and data, length, type, data. A record is one
chunk (FULL), or a FIRST, any number of MIDDLE ones and a LAST.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

MAGIC = b":W&B\xe1\xbe"  # then the version
HEADER = 7
VERSION = 0
BLOCK = 1 << 15
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
NOTHING = bytes(HEADER)  # a part of the file that was never written

_unpack = struct.Struct("<IHB").unpack


class NoLog(Exception):
    """The file is no log of W&B, or one of a version that is not known."""


class Damaged(Exception):
    """What follows cannot be read."""


class LogFile:
    """`broken` says from which byte on the file could not be read, and why; empty if all of it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = ""

    def records(self) -> Iterator[bytes]:
        """Yield the records that are whole, up to the first one that is not. Raises NoLog, OSError."""
        with self.path.open("rb") as file:
            block = file.read(BLOCK)
            if not block.startswith(MAGIC):
                raise NoLog("it is empty." if not block else "it does not begin as a file of W&B.")
            if block[len(MAGIC) : HEADER] != bytes([VERSION]):
                raise NoLog("it has a version that is not known.")
            at, start, began = HEADER, 0, HEADER  # in the block; of the block; of the record
            parts: list[bytes] = []
            try:
                while block:
                    for kind, data, end in _chunks(block, at):
                        if (kind in (FULL, FIRST)) == bool(parts):
                            raise Damaged("a part of a record is missing")
                        parts.append(data)
                        if kind in (FULL, LAST):
                            yield b"".join(parts)
                            parts, began = [], start + end
                    start, at, block = start + len(block), 0, file.read(BLOCK)
                if parts:
                    raise Damaged("it is truncated")
            except Damaged as error:
                self.broken = f"{self.path.name} from byte {began:,} on ({error})"


def _chunks(block: bytes, at: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield type, data and end of each chunk of a block. Raises Damaged."""
    size = len(block)
    while at + HEADER <= size:
        crc, length, kind = _unpack(block[at : at + HEADER])
        if block[at : at + HEADER] == NOTHING:
            raise Damaged("nothing was written there")
        end = at + HEADER + length
        if end > size:
            raise Damaged("it is truncated" if size < BLOCK else "a length is wrong")
        if not FULL <= kind <= LAST or zlib.crc32(block[at + HEADER - 1 : end]) != crc:
            raise Damaged("a checksum is wrong")
        yield kind, block[at + HEADER : end], end
        at = end
    if at < size < BLOCK:
        raise Damaged("it is truncated")
