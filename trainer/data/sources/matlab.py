"""Numeric arrays of a MATLAB 5 file, as SVHN comes in; no more of the format than that.

Source: "MAT-File Format", The MathWorks, chapter 1 (level 5).
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED_AS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}
_LARGEST_BYTES = 4 << 30

Element = tuple[int, memoryview]


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Each variable by its name, in the shape MATLAB gave it. Raises ValueError."""
    data = memoryview(path.read_bytes())
    if len(data) < _HEADER_BYTES or bytes(data[126:128]) != b"IM":
        raise ValueError("not a little-endian MATLAB 5 file")
    arrays = {}
    position = _HEADER_BYTES
    while position < len(data):
        kind, content, position = _element(data, position)
        if kind == _COMPRESSED:
            kind, content, _ = _element(_decompressed(content), 0)
        if kind == _MATRIX:
            name, array = _matrix(content)
            arrays[name] = array
    return arrays


def _element(data: memoryview, position: int) -> tuple[int, memoryview, int]:
    """The type and the content of the element at position, and where the next one begins."""
    try:
        kind, size = struct.unpack_from("<2L", data, position)
    except struct.error:
        raise ValueError("the file is cut short") from None
    if kind >> 16:  # up to four bytes, packed into the tag itself
        kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
    else:
        start = position + 8
        padding = 0 if kind == _COMPRESSED else -size % 8
        end = start + size + padding
    if start + size > len(data):
        raise ValueError("the file is cut short")
    return kind, data[start : start + size], end


def _decompressed(content: memoryview) -> memoryview:
    try:
        return memoryview(zlib.decompressobj().decompress(content, _LARGEST_BYTES))
    except zlib.error as error:
        raise ValueError(f"the file is damaged: {error}") from None


def _matrix(content: memoryview) -> tuple[str, npt.NDArray[Any]]:
    position = 0
    parts = []
    for _ in range(4):  # flags, dimensions, name, values
        kind, part, position = _element(content, position)
        parts.append((kind, part))
    shape = np.frombuffer(parts[1][1], "<i4")
    kind, values = parts[3]
    if kind not in _STORED_AS:
        raise ValueError(f"values of a type that is not read ({kind})")
    array = np.frombuffer(values, _STORED_AS[kind])
    return bytes(parts[2][1]).decode("ascii"), array.reshape(shape, order="F")
