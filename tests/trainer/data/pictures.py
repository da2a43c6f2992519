"""Small images and trees of them, for tests."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(seed: int, width: int = 32, height: int = 32) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def png(seed: int, width: int = 32, height: int = 32) -> bytes:
    return encoded(noise(seed, width, height))


def tree(*folders: str, each: int = 2) -> dict[str, bytes]:
    """A few different images in each folder."""
    return {
        f"{folder}/{index}.png": png(1000 * number + index)
        for number, folder in enumerate(folders)
        for index in range(each)
    }


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes], folders: Iterable[str] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in folders:
            archive.writestr(f"{folder}/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def slow_jpeg(scans: int = 3000) -> bytes:
    """A small progressive JPEG that takes milliseconds per scan to decode: its last scan, repeated."""
    data = encoded(Image.new("L", (4000, 4000), 128), "JPEG", progressive=True, quality=50)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def tall_png(height: int = 49_999_999) -> bytes:
    """The header of a PNG of one column."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2L5B", 1, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


def odd_png(before_pixels: bytes, width: int = 8) -> bytes:
    """A PNG of palette indices with only the given chunks before its pixels."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2L5B", width, 8, 8, 3, 0, 0, 0))
        + before_pixels
        + chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
        + chunk(b"IEND", b"")
    )


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def raw_zip(path: Path, files: dict[bytes, bytes]) -> Path:
    """A zip with these bytes as its names, without the flag for UTF-8."""
    placeholders = {chr(ord("A") + index) * len(name): name for index, name in enumerate(files)}
    write_zip(path, {placeholder: files[name] for placeholder, name in placeholders.items()})
    data = path.read_bytes()
    for placeholder, name in placeholders.items():
        data = data.replace(placeholder.encode(), name)
    path.write_bytes(data)
    return path
