import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.pictures import chunk, encoded, noise, png
from trainer.data.color import to_rgb
from trainer.data.errors import ImageTooLarge, UnreadableImage, UnsupportedImage
from trainer.data.fit import PAD_COLOR, decode_image, fit_image, read_image
from trainer.data.format import FITS, Fit
from trainer.data.image_formats import FORMATS

REPOSITORY = Path(__file__).parents[3]
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def halves(mode: str, left: Any, right: Any, width: int = 32, height: int = 32) -> Image.Image:
    image = Image.new(mode, (width, height), left)
    image.paste(right, (width // 2, 0, width, height))
    return image


def sides(data: bytes) -> tuple[list[int], list[int]]:
    pixels = read_image(data, 32, "crop")
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    return pixels[16, 4].tolist(), pixels[16, 27].tolist()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    assert np.array_equal(read_image(encoded(noise(1), form, **options), 32, "crop"), np.asarray(noise(1)))


@pytest.mark.parametrize("form", [known.pillow for known in FORMATS])
def test_every_format_is_read(form: str) -> None:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    left, right = sides(encoded(halves("RGB", RED, BLUE), form))
    assert np.allclose(left, RED, atol=6)
    assert np.allclose(right, BLUE, atol=6)


Pixel = tuple[int, int, int]
MODES: dict[str, tuple[Image.Image, str, dict[str, Any], Pixel, Pixel]] = {
    "grey": (halves("L", 40, 200), "PNG", {}, (40,) * 3, (200,) * 3),
    "bilevel": (halves("1", 0, 1), "PNG", {}, (0,) * 3, (255,) * 3),
    "16-bit grey": (
        Image.fromarray(np.repeat([[257 * 40] * 16 + [257 * 200] * 16], 32, 0).astype(np.uint16)),
        "PNG",
        {},
        (40,) * 3,
        (200,) * 3,
    ),
    "16-bit grey, a see-through value": (
        Image.fromarray(np.repeat([[257 * 40] * 16 + [300] * 16], 32, 0).astype(np.uint16)),
        "PNG",
        {"transparency": 300},
        (40,) * 3,
        WHITE,
    ),
    "palette": (halves("RGB", RED, GREEN).quantize(4), "PNG", {}, RED, GREEN),
    "see-through": (halves("RGBA", (*RED, 255), (0, 0, 0, 0)), "PNG", {}, RED, WHITE),
    "half see-through": (halves("RGBA", (*RED, 255), (0, 0, 0, 51)), "PNG", {}, RED, (204,) * 3),
    "grey and alpha": (halves("LA", (40, 255), (0, 0)), "PNG", {}, (40,) * 3, WHITE),
    "a see-through colour": (halves("RGB", RED, GREEN), "PNG", {"transparency": GREEN}, RED, WHITE),
    "a see-through grey": (halves("L", 40, 200), "PNG", {"transparency": 200}, (40,) * 3, WHITE),
    "CMYK": (halves("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), "JPEG", {"quality": 95}, RED, BLUE),
    "WebP with alpha": (
        halves("RGBA", (*RED, 255), (0, 0, 0, 0)),
        "WEBP",
        {"lossless": True},
        RED,
        WHITE,
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes_become_the_right_rgb(mode: str) -> None:
    image, form, options, left, right = MODES[mode]
    got = sides(encoded(image, form, **options))
    assert np.allclose(got[0], left, atol=4)
    assert np.allclose(got[1], right, atol=4)


def test_a_palette_with_a_see_through_entry() -> None:
    image = halves("P", 0, 1)
    image.putpalette([*RED, *GREEN])
    assert sides(encoded(image, "PNG", transparency=1)) == (list(RED), list(WHITE))
    assert sides(encoded(image, "GIF", transparency=1)) == (list(RED), list(WHITE))


def test_16_bit_colour() -> None:
    row = b"\0" + struct.pack(">3H", 257 * 40, 257 * 80, 257 * 200) * 32
    data = _png(32, 32, depth=16, kind=2, rows=row * 32)
    assert read_image(data, 32, "crop")[5, 5].tolist() == [40, 80, 200]


DEEP: dict[str, tuple[Any, type[np.generic], dict[int, int]]] = {
    "unsigned 16 bits": ((0, 257 * 100, 65535), np.uint16, {}),
    "white is zero": ((65535, 257 * 155, 0), np.uint16, {262: 0}),
    "32 bits": ((-1000, 1000, 4100), np.int32, {}),
    "fractions": ((0.0, 100 / 255, 1.0), np.float32, {}),
    "floats": ((-3.0, 197.0, 507.0), np.float32, {}),
    "floats, not finite": ((0, 100 / 255, np.inf), np.float32, {}),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_gray_is_scaled_by_its_range(kind: str) -> None:
    values, dtype, tags = DEEP[kind]
    image = Image.fromarray(np.repeat([[values[0]] * 11 + [values[1]] * 11 + [values[2]] * 10], 32, 0).astype(dtype))
    pixels = read_image(encoded(image, "TIFF", tiffinfo=tags), 32, "crop")
    expected = [0, 0 if "not finite" in kind else 100, 255]
    assert [pixels[5, column].tolist() for column in (2, 16, 29)] == [[gray] * 3 for gray in expected]


def test_16_bit_color_in_tiff() -> None:
    header = struct.pack("<2sHLH", b"II", 42, 8, 9)
    fields = ((256, 1), (257, 1), (258, 16), (259, 1), (262, 2), (273, 122), (277, 3), (278, 1), (279, 6))
    tags = b"".join(struct.pack("<HHLHH", tag, 3, 1, value, 0) for tag, value in fields if tag != 258)
    bits = struct.pack("<HHLL", 258, 3, 3, 128)
    data = header + tags[:24] + bits + tags[24:] + struct.pack("<L", 0)
    data = data.ljust(122, b"\0") + struct.pack("<3H", 257 * 40, 257 * 80, 257 * 200) + struct.pack("<3H", 16, 16, 16)
    assert read_image(data, 32, "crop")[5, 5].tolist() == [40, 80, 200]


def test_heic_says_what_to_install_where_it_cannot_be_read() -> None:
    check = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from trainer.data.errors import UnsupportedImage\n"
        "from trainer.data.fit import decode_image\n"
        "try: decode_image(b'\\0\\0\\0\\x18ftypheic' + bytes(20))\n"
        "except UnsupportedImage as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "This is a file in HEIC format; to read it, install trackside[heic] (pillow-heif).\n"


def test_a_damaged_heic_is_unreadable() -> None:
    pytest.importorskip("pillow_heif")
    with pytest.raises(UnreadableImage, match="HEIC"):
        decode_image(b"\0\0\0\x18ftypheic" + bytes(20))


def test_one_pixel() -> None:
    for fit in FITS:
        assert (read_image(encoded(Image.new("RGB", (1, 1), RED)), 32, fit) == RED).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_honoured(orientation: int, form: str) -> None:
    upright = Image.new("RGB", (32, 32), BLUE)
    upright.paste(RED, (0, 0, 16, 16))
    upright.paste(GREEN, (16, 0, 32, 16))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_image(encoded(stored, form, exif=exif), 32, "crop")
    assert np.allclose(pixels[8, 8], RED, atol=8)
    assert np.allclose(pixels[8, 24], GREEN, atol=8)
    assert np.allclose(pixels[24, 8], BLUE, atol=8)


def test_broken_exif_does_not_cost_the_image() -> None:
    data = encoded(halves("RGB", RED, BLUE), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert sides(data) == (list(RED), list(BLUE))


def test_a_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (read_image(data, 32, "crop") == RED).all()


def test_fits_of_a_wide_image() -> None:
    image = Image.new("RGB", (96, 32), GREEN)
    image.paste(RED, (0, 0, 32, 32))
    image.paste(BLUE, (64, 0, 96, 32))
    assert (fit_image(image, 32, "crop") == GREEN).all()
    squashed = fit_image(image, 32, "squash")
    assert [squashed[16, x].tolist() for x in (3, 16, 28)] == [list(RED), list(GREEN), list(BLUE)]
    padded = fit_image(image, 32, "pad")
    assert padded[2, 16].tolist() == padded[29, 16].tolist() == list(PAD_COLOR)
    assert [padded[16, x].tolist() for x in (3, 16, 28)] == [list(RED), list(GREEN), list(BLUE)]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(3000, 2), (2, 3000), (33, 31), (224, 224)])
def test_any_shape_fits(fit: Fit, size: tuple[int, int]) -> None:
    assert fit_image(Image.new("L", size, 9), 64, fit).shape == (64, 64, 3)


def test_rgb_of_rgb_changes_nothing() -> None:
    image = to_rgb(decode_image(png(3)))
    assert to_rgb(image) is image


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_files_are_refused(form: str, share: float) -> None:
    data = encoded(noise(2, 64, 48), form)
    with pytest.raises(UnreadableImage):
        decode_image(data[: int(len(data) * share)])


def test_a_png_without_its_end_is_refused() -> None:
    with pytest.raises(UnreadableImage):
        decode_image(png(1)[:-12])


@pytest.mark.parametrize(
    "data", [b"", b"This is a text, whatever its name.", b"\0" * 100, b"\xff\xd8\xff", b"GIF89a", b"<html></html>"]
)
def test_what_is_no_image_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode_image(data)


FOREIGN = {
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "bare SVG": b"\xef\xbb\xbf  <svg></svg>",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    "PSD": b"8BPS\0\1" + b"\0" * 30,
    "PDF": encoded(noise(1), "PDF"),
    "ICO": encoded(noise(1), "ICO"),
    "JPEG XL": b"\xff\x0a" + b"\0" * 30,
    "zip": b"PK\x03\x04" + b"\0" * 30,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_formats_are_unsupported_whatever_their_name(kind: str) -> None:
    with pytest.raises(UnsupportedImage, match=kind.removeprefix("bare ")):
        decode_image(FOREIGN[kind])


def test_a_vast_image_is_refused_by_its_header_alone() -> None:
    with pytest.raises(ImageTooLarge):
        decode_image(_png(50_000, 50_000, depth=8, kind=2, rows=b""))
    with pytest.raises(ImageTooLarge):
        decode_image(_png(9_000, 10_100, depth=8, kind=2, rows=b""))  # where Pillow itself only warns
    with pytest.raises(ImageTooLarge, match="40 × 40"):
        decode_image(encoded(Image.new("L", (40, 40))), max_pixels=1599)
    assert decode_image(encoded(Image.new("L", (40, 40))), max_pixels=1600).size == (40, 40)


def test_large_metadata_of_a_png_is_passed_over() -> None:
    large = zlib.compress(bytes(1_300_000))
    chunks = [
        chunk(b"iCCP", b"printer\0\0" + large),
        chunk(b"zTXt", b"workflow\0\0" + large),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + large),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + large),
        chunk(b"zTXt", b"broken\0\0no zlib stream"),
        *(chunk(b"zTXt", b"many\0\0" + zlib.compress(bytes(1_000_000))) for _ in range(80)),
    ]
    for more in [*([item] for item in chunks), chunks]:
        for where in (b"IDAT", b"IEND"):
            assert np.array_equal(read_image(_with_chunks(png(1), more, where), 32, "crop"), np.asarray(noise(1)))


def test_a_bomb_in_a_text_chunk_is_not_unpacked() -> None:
    bomb = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(20 << 20)))
    data = _with_chunks(png(1), [bomb], b"IDAT")
    tracemalloc.start()
    try:
        read_image(data, 32, "crop")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_orientation_in_an_xmp_text_is_honored() -> None:
    image = halves("RGB", RED, BLUE)
    xmp = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/>'
    data = _with_chunks(encoded(image), [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)], b"IDAT")
    assert sides(data) == (list(BLUE), list(RED))


def _with_chunks(data: bytes, chunks: list[bytes], before: bytes) -> bytes:
    at = data.index(before) - 4
    return data[:at] + b"".join(chunks) + data[at:]


def test_a_damaged_byte_never_raises_anything_else() -> None:
    rng = np.random.default_rng(0)
    originals = [encoded(noise(5), form) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")]
    exif = Image.Exif()
    exif[0x0112] = 6
    originals.append(encoded(noise(5), "JPEG", exif=exif))
    survived = 0
    for round_ in range(1200):
        data = bytearray(originals[round_ % len(originals)])
        for position in rng.integers(0, min(len(data), 300), 3):
            data[position] = rng.integers(0, 256)
        try:
            read_image(bytes(data), 32, "pad")
        except (UnreadableImage, UnsupportedImage, ImageTooLarge):
            continue
        survived += 1
    assert 0 < survived < 1200


def _png(width: int, height: int, *, depth: int, kind: int, rows: bytes) -> bytes:
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    out.write(chunk(b"IHDR", struct.pack(">2L5B", width, height, depth, kind, 0, 0, 0)))
    out.write(chunk(b"IDAT", zlib.compress(rows)))
    out.write(chunk(b"IEND", b""))
    return out.getvalue()
