"""The wire format of protocol buffers: fields of a message, read and written without a schema."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Union

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = Union[int, bytes]


class Malformed(ValueError):
    """The bytes are not a message."""


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field: varints as integers, others as their bytes. Raises Malformed."""
    at, size = 0, len(data)
    while at < size:
        key = data[at]  # most keys and lengths have one byte: a call for each would take twice as long
        if key < 128:
            at += 1
        else:
            key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            length = data[at] if at < size else 128
            if length < 128:
                at += 1
            else:
                length, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise Malformed(f"unknown wire type {kind}")
        if at + length > size:
            raise Malformed("a field is longer than its message")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number is incomplete")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def as_bytes(value: Value) -> bytes:
    """Raises Malformed: the field is a number."""
    if isinstance(value, int):
        raise Malformed("a number stands where bytes should")
    return value


def as_text(value: Value) -> str:
    return as_bytes(value).decode("utf-8", "replace")


def as_double(value: Value) -> float:
    return _unpacked("<d", value)


def as_float(value: Value) -> float:
    return _unpacked("<f", value)


def _unpacked(form: str, value: Value) -> float:
    try:
        return float(struct.unpack(form, as_bytes(value))[0])
    except struct.error as error:
        raise Malformed(str(error)) from None


def signed(value: Value) -> int:
    """An int64. Raises Malformed: the field holds bytes."""
    if not isinstance(value, int):
        raise Malformed("bytes stand where a number should")
    return value - (1 << 64) if value >= 1 << 63 else value


def number(field: int, value: int) -> bytes:
    return _encoded(field << 3 | VARINT) + _encoded(value & (1 << 64) - 1)


def double(field: int, value: float) -> bytes:
    return _encoded(field << 3 | FIXED64) + struct.pack("<d", value)


def single(field: int, value: float) -> bytes:
    """A float of 32 bits; what is too large for it becomes infinite."""
    try:
        data = struct.pack("<f", value)
    except OverflowError:
        data = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _encoded(field << 3 | FIXED32) + data


def message(field: int, data: bytes | str) -> bytes:
    """A message, bytes or a text as a field."""
    data = data.encode("utf-8", "replace") if isinstance(data, str) else data
    return _encoded(field << 3 | BYTES) + _encoded(len(data)) + data


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
