"""PNG files from raw pixels, with zlib alone."""

from __future__ import annotations

import struct
import zlib

_COLOR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: the PNG color type


def encode_png(pixels: bytes, width: int, height: int, channels: int) -> bytes:
    """Encode rows of 8-bit samples, interleaved by channel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA."""
    stride = width * channels
    rows = b"".join(b"\0" + pixels[start : start + stride] for start in range(0, stride * height, stride))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR[channels], 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 6)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
