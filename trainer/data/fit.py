"""Convert an image file's bytes to the square RGB array of a dataset. Used by import and prediction."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from trainer.data import png
from trainer.data.errors import ImageTooLarge, UnreadableImage, UnsupportedImage
from trainer.data.format import Fit, Images

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 50_000_000
# Pillow's resize holds 32 bytes of weights per pixel of a side: 320 MB for this one. "crop" resizes a part of it only.
MAX_SIDE = 10_000_000
# Near the mean of natural images, so that a padded border is about zero after normalization.
PAD_COLOR = (128, 128, 128)

# Raised by Pillow's decoders on truncated, altered or hostile files.
_DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    AttributeError,
    NotImplementedError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
# Format, offset of its signature, signatures.
_UNSUPPORTED = (
    ("TIFF", 0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("PDF", 0, (b"%PDF",)),
    ("EPS", 0, (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    ("PSD", 0, (b"8BPS", b"8BPB")),
    ("HEIC", 4, (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftypmsf1", b"ftypheim")),
    ("AVIF", 4, (b"ftypavif", b"ftypavis")),
    ("JPEG 2000", 0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("JPEG XL", 0, (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    ("ICO", 0, (b"\0\0\1\0",)),
    ("zip", 0, (b"PK\x03\x04",)),
)
_SUPPORTED = "JPEG, PNG, WebP, GIF and BMP"


def read_image(data: bytes, size: int, fit: Fit, *, max_pixels: int = MAX_PIXELS) -> Images:
    image = decode_image(data, max_pixels=max_pixels, max_side=max_pixels if fit == "crop" else MAX_SIDE)
    return fit_image(image, size, fit)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int = MAX_PIXELS) -> Image.Image:
    """Decode the first frame in its own mode. The format is found from the bytes, not from a file name.

    Raises UnreadableImage, UnsupportedImage or ImageTooLarge.
    """
    image = open_image(data, max_pixels=max_pixels)
    width, height = image.size
    if max(width, height) > max_side:
        raise ImageTooLarge(f"The image is {width:,} × {height:,}: a side has more than {max_side:,} pixels.")
    if image.format == "PNG" and b"IEND" not in data:
        raise UnreadableImage("The image is cut short.")  # Pillow accepts a PNG without its end
    try:
        with _without_warnings():
            image.load()
    except _DECODING_ERRORS as error:
        raise UnreadableImage(f"The image cannot be read: {error}.") from None
    return image


def open_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image's header. Raises as `decode_image` does."""
    if not data:
        raise UnreadableImage("The file is empty.")
    if data.startswith(png.SIGNATURE):
        data = png.without_metadata(data)
    try:
        with _without_warnings():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if kind := _unsupported_format(data):
            raise UnsupportedImage(f"This is a {kind} file; {_SUPPORTED} are taken.") from None
        raise UnreadableImage(f"This is not an image; {_SUPPORTED} are taken.") from None
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"The image has more than {max_pixels:,} pixels.") from None
    except _DECODING_ERRORS as error:
        raise UnreadableImage(f"The image cannot be read: {error}.") from None
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(f"The image is {width:,} × {height:,}: more than {max_pixels:,} pixels.")
    return image


def fit_image(image: Image.Image, size: int, fit: Fit) -> Images:
    """Return uint8 size×size×3. An image that has this size already keeps its pixels."""
    image = to_rgb(image)
    target = (size, size)
    if image.size != target:
        if fit == "crop":
            image = ImageOps.fit(image, target, Image.Resampling.BICUBIC)
        elif fit == "pad":
            image = _pad(image, size)
        else:
            image = image.resize(target, Image.Resampling.BICUBIC)
    return np.asarray(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB, rotated by its EXIF orientation. Transparent pixels become white."""
    image = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_16_bit_gray(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    if not image.info:
        return image  # no metadata, hence no orientation
    try:
        with _without_warnings():
            if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
                return image
            return ImageOps.exif_transpose(image)
    except _DECODING_ERRORS:
        return image  # the pixels are valid, only the EXIF data is not


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about files that it repairs: the sender of a file does not see this log."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _from_16_bit_gray(image: Image.Image) -> Image.Image:
    """Scale 16 bits per pixel (PNG) to 8. Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image)
    deep = np.clip(values, 0, 65535).astype(np.uint32)
    gray = ((deep * 255 + 32767) // 65535).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        gray[deep == key] = 255
    return Image.fromarray(gray, "L").convert("RGB")


def _pad(image: Image.Image, size: int) -> Image.Image:
    scale = size / max(image.size)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new("RGB", (size, size), PAD_COLOR)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), (left, top))
    return canvas


def _unsupported_format(data: bytes) -> str | None:
    for name, offset, magics in _UNSUPPORTED:
        if any(data.startswith(magic, offset) for magic in magics):
            return name
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_markup = head.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--"))
    return "SVG" if is_markup and b"<svg" in head else None
