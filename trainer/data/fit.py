"""Convert an image file's bytes to the square RGB array of a dataset. Used by import and prediction."""

import io
from functools import cache

import numpy as np
from PIL import AvifImagePlugin, Image, ImageOps, UnidentifiedImageError, features

from trainer.data import png
from trainer.data.color import DECODING_ERRORS, deep_peak, to_rgb, without_warnings
from trainer.data.errors import ImageTooLarge, UnreadableImage, UnsupportedImage
from trainer.data.format import Fit, Images
from trainer.data.image_formats import FORMATS, NAMES, named_by_signature

MAX_PIXELS = 50_000_000
# Pillow's resize holds 32 bytes of weights per pixel of a side: 320 MB for this one. "crop" resizes a part of it only.
MAX_SIDE = 10_000_000
_ALWAYS = [known.pillow for known in FORMATS if not known.needs]
# Near the mean of natural images, so that a padded border is about zero after normalization.
PAD_COLOR = (128, 128, 128)


def read_image(data: bytes, size: int, fit: Fit, *, max_pixels: int = MAX_PIXELS) -> Images:
    return read_measured(data, size, fit, max_pixels=max_pixels)[0]


def read_measured(data: bytes, size: int, fit: Fit, *, max_pixels: int = MAX_PIXELS) -> tuple[Images, float | None]:
    """Return the pixels, and the largest value of an image of 16 bits per channel as `deep_peak` does."""
    image = decode_image(data, max_pixels=max_pixels, max_side=max_pixels if fit == "crop" else MAX_SIDE)
    return fit_image(image, size, fit), deep_peak(image, data)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int = MAX_PIXELS) -> Image.Image:
    """Decode the first frame in its own mode. The format is found from the bytes, not from a file name.

    Raises UnreadableImage, UnsupportedImage or ImageTooLarge.
    """
    with without_warnings():
        image = open_image(data, max_pixels=max_pixels)
        width, height = image.size
        if max(width, height) > max_side:
            raise ImageTooLarge(f"The image is {width:,} × {height:,}: a side has more than {max_side:,} pixels.")
        if image.format == "PNG" and b"IEND" not in data:
            raise UnreadableImage("The image is cut short.")  # Pillow accepts a PNG without its end
        try:
            image.load()
        except DECODING_ERRORS as error:
            raise UnreadableImage.of(error) from None
    return image


def open_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image's header. Raises as `decode_image` does. Pillow may warn."""
    if not data:
        raise UnreadableImage("The file is empty.")
    if data.startswith(png.SIGNATURE):
        data = png.without_metadata(data)
    try:
        image = Image.open(io.BytesIO(data), formats=_decoders(data))
    except UnidentifiedImageError:
        raise _not_identified(data) from None
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"The image has more than {max_pixels:,} pixels.") from None
    except DECODING_ERRORS as error:
        raise UnreadableImage.of(error) from None
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(f"The image is {width:,} × {height:,}: more than {max_pixels:,} pixels.")
    return image


def _decoders(data: bytes) -> list[str]:
    """Pillow's names of the formats to try."""
    if data[4:8] != b"ftyp":
        return _ALWAYS
    # A decoder takes one core: images are decoded on all of them already, in little address space.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    return (["HEIF"] if _register_heif() else []) + (["AVIF"] if features.check("avif") else [])


@cache
def _register_heif() -> bool:
    try:
        from pillow_heif import register_heif_opener  # an optional dependency, loaded once a file needs it
    except ImportError:
        return False
    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    return True


def _not_identified(data: bytes) -> UnreadableImage | UnsupportedImage:
    name = named_by_signature(data)
    known = next((known for known in FORMATS if known.name == name), None)
    if known is None:
        what = f"a {name} file" if name else "not an image"
        return (UnsupportedImage if name else UnreadableImage)(f"This is {what}; {NAMES} are read.")
    if known.pillow in _decoders(data):
        return UnreadableImage(f"The {name} file is damaged, or of a kind that is not read.")
    return UnsupportedImage(f"This is a file in {name} format; to read it, install {known.needs}.")


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


def _pad(image: Image.Image, size: int) -> Image.Image:
    scale = size / max(image.size)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new("RGB", (size, size), PAD_COLOR)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), (left, top))
    return canvas
