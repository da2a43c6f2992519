"""Convert decoded images of any mode to 8-bit RGB."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

# Raised by Pillow's decoders on truncated, altered or hostile files.
DECODING_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_TAGS = {"BitsPerSample": 258, "PhotometricInterpretation": 262, "SampleFormat": 339}


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB, rotated by its EXIF orientation. Transparent pixels become white."""
    image = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_gray(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    if not image.info:
        return image  # no metadata, hence no orientation
    try:
        with without_warnings():
            if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
                return image
            return ImageOps.exif_transpose(image)
    except DECODING_ERRORS:
        return image  # the pixels are valid, only the EXIF data is not


@contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about files that it repairs: the sender of a file does not see this log."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _from_deep_gray(image: Image.Image) -> Image.Image:
    """Scale gray of more than 8 bits by its range. Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)
    low, high = _value_range(image, values)
    scaled = (values.astype(np.float32) - low) * (255 / (high - low) if high > low else 0)
    gray = np.clip(scaled, 0, 255, out=scaled).round().astype(np.uint8)
    if _tag(image, "PhotometricInterpretation", 1) == 0:  # white is zero
        gray = 255 - gray
    key = image.info.get("transparency")
    if isinstance(key, int):
        gray[values == key] = 255
    return Image.fromarray(gray, "L").convert("RGB")


def _value_range(image: Image.Image, values: npt.NDArray[Any]) -> tuple[float, float]:
    """The values of black and white: those of the file's type; for 32 bits, which seldom use their range, the smallest
    and largest of the image, but 0 and 1 for fractions."""
    bits = _tag(image, "BitsPerSample", 16)
    if bits <= 16:
        signed = _tag(image, "SampleFormat", 1) == 2
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    low, high = float(values.min()), float(values.max())
    return (0, 1) if values.dtype.kind == "f" and low >= 0 and high <= 1 else (low, high)


def deep_peak(image: Image.Image, data: bytes) -> float | None:
    """The largest value of an image of 16 bits per channel as a share of its type's range; None for another image.

    `data` is the file. Pillow decodes 16-bit RGB to 8 bits, by its range.
    """
    if image.mode == "RGB":
        is_deep_png = image.format == "PNG" and data[24:25] == b"\x10"
        if not is_deep_png and _tag(image, "BitsPerSample", 8) != 16:
            return None
        return max(high for _, high in image.getextrema()) / 255  # type: ignore[misc]
    if not (image.mode == "I" or image.mode.startswith("I;16")) or _tag(image, "BitsPerSample", 16) > 16:
        return None
    values = np.asarray(image)
    low, high = _value_range(image, values)
    return (float(values.max()) - low) / (high - low)


def _tag(image: Image.Image, name: str, default: int) -> int:
    """The value of a TIFF tag. Other formats have 16 bits, unsigned, where they are not 8."""
    if not isinstance(image, TiffImageFile):
        return default
    value = image.tag_v2.get(_TAGS[name], default)
    return int(value[0] if isinstance(value, tuple) else value)
