"""The image formats that are read. What names them (decoding, file endings, API, pages) takes them from here.

Free of Pillow.
"""

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class ImageFormat:
    """`needs` is what to install if Pillow cannot read the format; `module`, the module that it is read with then."""

    name: str
    pillow: str
    media_type: str
    endings: tuple[str, ...]
    needs: str = ""
    module: str = ""


FORMATS = (
    ImageFormat("JPEG", "JPEG", "image/jpeg", (".jpg", ".jpeg", ".jfif")),
    ImageFormat("PNG", "PNG", "image/png", (".png",)),
    ImageFormat("WebP", "WEBP", "image/webp", (".webp",)),
    ImageFormat("GIF", "GIF", "image/gif", (".gif",)),
    ImageFormat("BMP", "BMP", "image/bmp", (".bmp",)),
    ImageFormat("TIFF", "TIFF", "image/tiff", (".tif", ".tiff")),
    ImageFormat("AVIF", "AVIF", "image/avif", (".avif",), needs="a Pillow with AVIF"),
    ImageFormat(
        "HEIC", "HEIF", "image/heic", (".heic", ".heif"), needs="trackside[heic] (pillow-heif)", module="pillow_heif"
    ),
)
ENDINGS = tuple(ending for known in FORMATS for ending in known.endings)
NAMES = f"{', '.join(known.name for known in FORMATS[:-1])} and {FORMATS[-1].name}"


def readable_here() -> list[ImageFormat]:
    """The formats whose optional modules are installed."""
    return [known for known in FORMATS if not known.module or find_spec(known.module)]


# Name, offset of the signature, signatures. Formats that are read are among them where their decoder may be missing.
_SIGNATURES = (
    (
        "HEIC",
        4,
        (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftyphevx", b"ftypmsf1", b"ftypheim", b"ftypheis"),
    ),
    ("AVIF", 4, (b"ftypavif", b"ftypavis")),
    ("PDF", 0, (b"%PDF",)),
    ("EPS", 0, (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    ("PSD", 0, (b"8BPS", b"8BPB")),
    ("JPEG 2000", 0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("JPEG XL", 0, (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    ("ICO", 0, (b"\0\0\1\0",)),
    ("zip", 0, (b"PK\x03\x04",)),
)


def named_by_signature(data: bytes) -> str | None:
    """Return the name of a file's format, if it is one that may not be readable here."""
    for name, offset, magics in _SIGNATURES:
        if any(data.startswith(magic, offset) for magic in magics):
            return name
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_markup = head.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--"))
    return "SVG" if is_markup and b"<svg" in head else None
