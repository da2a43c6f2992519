"""The frames of an event file (TFRecord): length, masked CRC-32C of it, data, masked CRC-32C of the data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

HEADER, FOOTER = 12, 4
BLOCK = 8 << 20  # bytes that are read at once
CHECKED = 1 << 16  # longer records hold images, whose formats have checksums of their own; Python takes long for them
POLYNOMIAL = 0x82F63B78

_unpack_header = struct.Struct("<QI").unpack_from
_unpack_crc = struct.Struct("<I").unpack_from


def _byte_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_BYTES = _byte_table()
# Two bytes at once take half the time.
_PAIRS = [_BYTES[(pair >> 8) ^ (_BYTES[pair & 255] & 255)] ^ (_BYTES[pair & 255] >> 8) for pair in range(1 << 16)]


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of `data`, rotated and moved as in TFRecord files."""
    crc, even = 0xFFFFFFFF, len(data) & ~1
    table = _PAIRS
    for pair in struct.unpack(f"<{even >> 1}H", data[:even]):
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    if len(data) > even:
        crc = _BYTES[(crc ^ data[-1]) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    """Return `data` as a record."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


class RecordFile:
    """Reads a file that may still be written to. `damaged` counts the records with a wrong checksum."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self.is_broken = False  # the length of a record is wrong: what follows cannot be read
        self._offset = 0
        self._lengths: dict[int, int] = {}  # their checksums

    def read(self) -> Iterator[bytes]:
        """Yield the complete records that were not read yet. The last one of a file may be incomplete."""
        if self.is_broken:
            return
        with self.path.open("rb") as file:
            block, size = b"", BLOCK
            while not self.is_broken:
                file.seek(self._offset)
                block = file.read(size)
                began = self._offset
                yield from self._records(block)
                if self._offset > began:
                    size = BLOCK
                elif len(block) < size:
                    return
                else:
                    size *= 2  # a record longer than a block

    def _records(self, block: bytes) -> Iterator[bytes]:
        at, size = 0, len(block)
        while at + HEADER <= size:
            length, crc = _unpack_header(block, at)
            if length not in self._lengths:  # of few lengths, usually
                self._lengths[length] = masked_crc(block[at : at + 8])
            if self._lengths[length] != crc:
                self.is_broken = True
                return
            start, end = at + HEADER, at + HEADER + length
            if end + FOOTER > size:
                return
            data = block[start:end]
            self._offset += HEADER + length + FOOTER
            at = end + FOOTER
            if length <= CHECKED and masked_crc(data) != _unpack_crc(block, end)[0]:
                self.damaged += 1
                continue
            yield data
