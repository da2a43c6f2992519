"""Output of a program as log lines: progress bars are thinned, escape sequences removed, floods limited."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable

LINE_LIMIT = 10_000  # characters
PROGRESS_SECONDS = 10.0  # between two states of a line that is written over
BURST, PER_SECOND = 5000.0, 500.0  # lines
ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f]"
)


class OutputLines:
    """Cuts one stream into lines. A carriage return writes the line over, as a terminal shows it."""

    def __init__(self, emit: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""  # the text since the last line feed or carriage return
        self._shown = ""  # what the current line showed before a carriage return
        self._progress_at: float | None = None
        self._credit, self._credit_at = BURST, clock()
        self._left_out = 0

    def feed(self, data: bytes) -> None:
        text = self._line + self._decoder.decode(data)
        *lines, rest = text.split("\n")
        for line in lines:
            self._finish_line(line.rstrip("\r"))
        overwritten, mark, self._line = rest.rpartition("\r")
        if mark:
            self._shown = last_state(overwritten) or self._shown
            self._show_progress()
        if len(self._line) > LINE_LIMIT:
            self._finish_line(self._line)
            self._line = ""

    def close(self) -> None:
        """The stream has ended, perhaps without a line feed."""
        self.feed(self._decoder.decode(b"", final=True).encode())
        if self._line or self._shown:
            self._finish_line(self._line)
            self._line = ""
        self._tell_left_out()

    def _finish_line(self, line: str) -> None:
        state = last_state(line) if "\r" in line else line
        self._write(state or self._shown)
        self._shown, self._progress_at = "", None

    def _show_progress(self) -> None:
        now = self._clock()
        if self._progress_at is None:
            self._progress_at = now
        elif now - self._progress_at >= PROGRESS_SECONDS and self._shown:
            self._progress_at = now
            self._write(self._shown)

    def _write(self, line: str) -> None:
        plain = ESCAPES.sub("", line).rstrip()
        if not plain and line:  # a movement of the cursor
            return
        now = self._clock()
        self._credit = min(BURST, self._credit + (now - self._credit_at) * PER_SECOND)
        self._credit_at = now
        if self._credit < 1:
            self._left_out += 1
            return
        self._credit -= 1
        self._tell_left_out()
        self._emit(plain[:LINE_LIMIT])

    def _tell_left_out(self) -> None:
        if self._left_out:
            self._emit(f"({self._left_out:,} lines left out: more than {PER_SECOND:.0f} per second)")
            self._left_out = 0


def last_state(line: str) -> str:
    """What a line shows that was written over at carriage returns."""
    return next((part for part in reversed(line.split("\r")) if ESCAPES.sub("", part).strip()), "")
