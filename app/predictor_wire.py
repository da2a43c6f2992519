"""Frames between the web process, the predictor and its decoders: a JSON header, then raw bytes."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

_LENGTHS = struct.Struct(">II")
# The kernel's limit on a unix socket's path is 108 bytes on Linux, 104 elsewhere.
_PATH_BYTES = 100
READ_LIMIT = 1 << 20
BACKLOG = 512
# What is wrong with an image, as an HTTP status, where that is not 422.
IMAGE_STATUS = {"unsupported_image": 415, "image_too_large": 413}

JOINT = "+"

Header = dict[str, Any]


class WireError(Exception):
    """The other side went away, in or before a frame."""


def members_of(model: str) -> list[str]:
    """The runs that answer: a model is named by a run's id, an ensemble by its members' ids, joined."""
    return model.split(JOINT)


def pack(header: Header, *payload: bytes) -> bytes:
    """One frame, to be written in one piece; several payloads are joined."""
    encoded = orjson.dumps(header)
    return b"".join((_LENGTHS.pack(len(encoded), sum(map(len, payload))), encoded, *payload))


async def receive(reader: asyncio.StreamReader) -> tuple[Header, bytes]:
    """The next frame. Raises WireError."""
    try:
        header_length, payload_length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        header: Header = orjson.loads(await reader.readexactly(header_length))
        payload = await reader.readexactly(payload_length) if payload_length else b""
    except (asyncio.IncompleteReadError, OSError, orjson.JSONDecodeError) as error:
        raise WireError(f"The connection ended: {error}") from None
    return header, payload


def receive_blocking(stream: io.BufferedIOBase) -> tuple[Header, bytes] | None:
    """The next frame, or None at the end of the stream."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    header_length, payload_length = _LENGTHS.unpack(head)
    header: Header = orjson.loads(stream.read(header_length))
    payload = stream.read(payload_length)
    return None if len(payload) < payload_length else (header, payload)


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address to bind or connect to: the path itself, or a short one where it is too long for the kernel."""
    if len(os.fsencode(path)) <= _PATH_BYTES:
        yield str(path)
    elif sys.platform == "linux":
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{path.name}"
        finally:
            os.close(folder)
    else:
        raise OSError(f"{path} is too long for a socket; choose a shorter TRACKSIDE_HOME.")
