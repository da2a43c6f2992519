"""The chunks of a PNG file (https://www.w3.org/TR/png-3/)."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Pillow refuses an image whose metadata unpacks to more than this.
MAX_UNPACKED = 1 << 20
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# These may state how the image has to be rotated.
_KEPT_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif")


def without_metadata(data: bytes) -> bytes:
    """Return a PNG without its color profile and texts, which do not change how its pixels are read here.

    Texts that may state the orientation are kept up to MAX_UNPACKED bytes each, unpacked. No more than that is
    unpacked of any chunk. What follows a malformed chunk is left to the decoder.
    """
    kept: list[bytes] = []
    copied = at = len(SIGNATURE)
    seen: set[bytes] = set()
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        end = at + 12 + length
        if end > len(data) or kind == b"IEND":
            break
        if kind == b"iCCP" or (kind in _TEXTS and not _may_rotate(kind, data[at + 8 : end - 4], seen)):
            kept.append(data[copied:at])
            copied = end
        at = end
    return b"".join([SIGNATURE, *kept, data[copied:]]) if kept else data


def _may_rotate(kind: bytes, body: bytes, seen: set[bytes]) -> bool:
    keyword, _, rest = body.partition(b"\0")
    if keyword not in _KEPT_TEXTS or keyword in seen:
        return False
    seen.add(keyword)
    if kind == b"zTXt":
        return _is_short(rest[1:])
    if kind == b"iTXt" and rest[:1] == b"\1":
        return _is_short(rest[2:].split(b"\0", 2)[-1])  # language and translated keyword come first
    return len(rest) <= MAX_UNPACKED


def _is_short(packed: bytes) -> bool:
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_UNPACKED + 1)) <= MAX_UNPACKED
    except zlib.error:
        return False
