"""The copy of a file that grows: whole lines, written at its end and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path


def split_before(text: bytes, start: bytes) -> tuple[bytes, bytes]:
    """Split whole lines before the first one that starts with `start`."""
    at = 0 if text.startswith(start) else text.find(b"\n" + start) + 1
    return (text[:at], text[at:]) if at or text.startswith(start) else (text, b"")


def append(path: Path, offset: int, data: bytes) -> None:
    """Write `data` at the end of the file, which must be at `offset`."""
    if not data:
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.fstat(fd).st_size != offset:
            raise RuntimeError(f"{path} has {os.fstat(fd).st_size} bytes, not {offset}: somebody else writes to it")
        while data:
            written = os.pwrite(fd, data, offset)
            offset, data = offset + written, data[written:]
    finally:
        os.close(fd)
