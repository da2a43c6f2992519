"""Estimate from an image file's header how long it takes to decode and fit. Reads a few bytes and decodes nothing.

Headers can lie: an estimate decides the order of work, and a time limit decides what is given up.
"""

import struct
from typing import NamedTuple

# Nanoseconds per pixel on a 2.1 GHz core, with the conversion to RGB and the resize to 32 × 32.
_JPEG_NS, _JPEG_SCAN_NS, _PNG_NS, _WEBP_NS, _OTHER_NS = 12, 2.5, 45, 65, 20
_UNKNOWN_SECONDS = 5.0
# A progressive JPEG is decoded once per scan: the usual 10 scans are allowed for 160 million pixels.
MAX_SCANNED_PIXELS = 1_600_000_000
_MAX_SEGMENTS = 200  # before the frame header of a JPEG; a camera writes about 20
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)


class DecodeCost(NamedTuple):
    """The size of an image, how often its pixels are decoded, and an estimate of the seconds that this takes."""

    pixels: int
    scans: int
    seconds: float

    @property
    def is_excessive(self) -> bool:
        return self.scans > 1 and self.pixels * self.scans > MAX_SCANNED_PIXELS


_UNKNOWN = DecodeCost(0, 1, _UNKNOWN_SECONDS)
_NO_IMAGE = DecodeCost(0, 1, 0.0)  # the decoder rejects it at once


def decode_cost(data: bytes) -> DecodeCost:
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _cost(struct.unpack_from(">II", data, 16), _PNG_NS)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _cost(_webp_size(data), _WEBP_NS)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return _cost(struct.unpack_from("<HH", data, 6), _OTHER_NS)
        if data.startswith(b"BM"):
            old = data[14:18] == b"\x0c\0\0\0"
            return _cost(struct.unpack_from("<HH" if old else "<ii", data, 18), _OTHER_NS)
    except struct.error:  # cut short
        pass
    return _NO_IMAGE


def _cost(size: tuple[int, ...], nanoseconds: float) -> DecodeCost:
    pixels = abs(size[0] * size[1])
    return DecodeCost(pixels, 1, 1e-9 * pixels * nanoseconds)


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":  # the canvas
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (low_width | high_width << 16) + 1, (low_height | high_height << 16) + 1
    if kind == b"VP8L":
        bits: int = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> DecodeCost:
    at = 2
    for _ in range(_MAX_SEGMENTS):
        fill, marker, length = struct.unpack_from(">BBH", data, at)
        if fill != 0xFF:
            return _UNKNOWN
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            # Compressed data never contains these two bytes: they start a scan.
            scans = max(1, data.count(b"\xff\xda", at))
            pixels = width * height
            return DecodeCost(pixels, scans, 1e-9 * pixels * (_JPEG_NS + _JPEG_SCAN_NS * scans))
        at += 2 + length
    return _UNKNOWN
