"""The event file of a session, opened for writing: one `write` per line, so that readers see complete lines only."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from trackside.notices import say_once

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def event_line(kind: str, **fields: Any) -> bytes:
    """Return an event as a line. Every kind of text is accepted: a lone surrogate is escaped, as JSON allows."""
    return b'{"e":"%s","t":%r,%s\n' % (kind.encode(), time.time(), _encode(fields)[1:].encode())


class EventFile:
    """Appends to a session's events. Holds a shared lock, which says that the session is still written to.

    Its lines may interleave with those of other processes (O_APPEND). A full disk is told once and never raises.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd: int | None = os.open(path, flags, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        self._path = path
        self._torn = False  # the last line is incomplete: the disk was full

    def write(self, line: bytes) -> bool:
        """Append a line, which ends in a line feed. Return whether it is in the file as a whole."""
        fd = self._fd
        if fd is None:
            return False
        if self._torn:
            line = b"\n" + line
        try:
            written = os.write(fd, line)
            while written < len(line):
                self._torn = True
                written += os.write(fd, line[written:])
        except OSError as error:
            say_once(f"{self._path}: {error.strerror}. Values are lost until this is corrected; the script goes on.")
            return False
        self._torn = False
        return True

    def emit(self, kind: str, **fields: Any) -> bool:
        return self.write(event_line(kind, **fields))

    def close(self) -> None:
        """Close the file; the session ends when its last writer does so."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
