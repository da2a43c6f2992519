"""Small files that take seconds to decode."""

from __future__ import annotations

import struct

from PIL import Image

from tests.app.predictor.predict_home import encode

SIDE = 7000


def slow_webp(side: int = SIDE, *, alpha: bool = False) -> bytes:
    """A lossless WebP of one color: 38 bytes, whatever its size. 49 million pixels take four seconds."""
    size = struct.pack("<I", (side - 1) | (side - 1) << 14 | alpha << 28)
    return b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f" + size + bytes.fromhex("07d0842634a1ff8188e87f0000")


def slow_jpeg(scans: int, side: int = SIDE) -> bytes:
    """A progressive JPEG of one gray whose last scan is repeated. Each scan takes as long as a small image."""
    data = encode(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), len(data) - 2
    return data[:end] + data[last:end] * (scans - data.count(b"\xff\xda")) + data[end:]


def lying_gif(side: int = SIDE) -> bytes:
    """A GIF that says 1 × 1 in its header; its frame has `side` × `side` pixels."""
    data = bytearray(encode(Image.new("P", (side, side)), "GIF"))
    data[6:10] = struct.pack("<HH", 1, 1)
    return bytes(data)
