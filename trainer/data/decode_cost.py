"""Estimate from an image file's header how long it takes to decode and fit. Reads a few bytes and decodes nothing.

Headers can lie: an estimate decides the order of work, and a time limit decides what is given up.
"""

import struct
from typing import NamedTuple

# Nanoseconds per pixel on a 2.1 GHz core, with the conversion to RGB and the resize to 32 × 32.
_JPEG_NS, _JPEG_SCAN_NS, _PNG_NS, _WEBP_NS, _AVIF_OR_HEIC_NS, _OTHER_NS = 12, 2.5, 45, 65, 100, 20
_UNKNOWN_SECONDS = 5.0
# A progressive JPEG is decoded once per scan: the usual 10 scans are allowed for 160 million pixels.
MAX_SCANNED_PIXELS = 1_600_000_000
_MAX_SEGMENTS = 200  # before the frame header of a JPEG; a camera writes about 20
_BIG_TIFF = (b"II+\0", b"MM\0+")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3
_MAX_TIFF_FIELDS = 200  # of the first page; a scanner writes about 30
_MAX_SIZES = 200  # of the parts that an AVIF or HEIC image is put together from; a camera writes about 50
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
        if data.startswith((b"II*\0", b"MM\0*")):
            return _tiff(data)
        if data.startswith(_BIG_TIFF):
            return _UNKNOWN
        if data[4:8] == b"ftyp":
            return _avif_or_heic(data)
    except struct.error:  # cut short
        pass
    return _NO_IMAGE


def excessive(cost: DecodeCost) -> str:
    """The reason for which an image of this cost, which is excessive, is not decoded."""
    return (
        f"The image is a progressive JPEG of {cost.pixels:,} pixels in {cost.scans:,} scans, which takes too long to "
        "decode. Save it as a baseline JPEG or in a smaller size."
    )


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
            # Compressed data contains neither mark: the first ends the image, which a phone may append a video to, and
            # the second starts a scan.
            end = data.find(b"\xff\xd9", at)
            scans = max(1, data.count(b"\xff\xda", at, end if end >= 0 else len(data)))
            pixels = width * height
            return DecodeCost(pixels, scans, 1e-9 * pixels * (_JPEG_NS + _JPEG_SCAN_NS * scans))
        at += 2 + length
    return _UNKNOWN


def _tiff(data: bytes) -> DecodeCost:
    order = "<" if data.startswith(b"II") else ">"
    size = {_TIFF_WIDTH: 0, _TIFF_HEIGHT: 0}
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (fields,) = struct.unpack_from(f"{order}H", data, at)
    for start in range(at + 2, at + 2 + 12 * min(fields, _MAX_TIFF_FIELDS), 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, start)
        if tag in size:
            (size[tag],) = struct.unpack_from(f"{order}{'H' if kind == _TIFF_SHORT else 'I'}", data, start + 8)
    return _cost(tuple(size.values()), _OTHER_NS) if all(size.values()) else _UNKNOWN


def _avif_or_heic(data: bytes) -> DecodeCost:
    """The largest of the sizes in the file, each in a box `ispe`: the others are of its parts and its thumbnail."""
    sizes: list[tuple[int, int]] = []
    at = data.find(b"ispe")
    while at >= 0 and len(sizes) < _MAX_SIZES:
        width, height = struct.unpack_from(">II", data, at + 8)
        sizes.append((width, height))
        at = data.find(b"ispe", at + 4)
    return max((_cost(size, _AVIF_OR_HEIC_NS) for size in sizes), default=_UNKNOWN)
