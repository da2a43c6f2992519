"""What is kept of a file between two looks, where several threads look: no order of their steps keeps an old value.

Each of two threads is stopped before each of its instructions in turn, which sys.settrace allows: the first has begun
to read when the file changes, the second reads it afterwards, and the first ends while the second is stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event, Thread
from types import CodeType, FrameType
from typing import Any

import orjson
import pytest

from app.auth.private_files import CachedFile, DamagedFile
from app.runs.names import JOURNAL, Aliases


@dataclass
class Stopped:
    """A call in a thread, stopped before the instruction of that number in `code`, if it has so many."""

    call: Callable[[], Any]
    code: CodeType
    instruction: int
    ended_before: bool = True
    _seen: int = 0
    _stopped: Event = field(default_factory=Event)
    _goes_on: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._thread = Thread(target=self._run)
        self._thread.start()
        assert self._stopped.wait(30)

    def end(self) -> None:
        self._goes_on.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        sys.settrace(self._trace)
        try:
            self.call()
        finally:
            sys.settrace(None)
            self._stopped.set()

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is not self.code:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            if self._seen == self.instruction:
                self.ended_before = False
                self._stopped.set()
                assert self._goes_on.wait(30)
            self._seen += 1
        return self._trace


def orders(begin: Callable[[], Callable[[], Any]], change: Callable[[], Any], code: CodeType) -> int:
    """Go through all orders, the cache made anew by `begin`, and count them; `change` says what is to be read then."""
    tried = 0
    for first_stop in count():
        for second_stop in count():
            look = begin()
            first = Stopped(look, code, first_stop)
            expected = change()
            second = Stopped(look, code, second_stop)
            first.end()
            second.end()
            assert look() == expected, (first_stop, second_stop)
            tried += 1
            if second.ended_before:
                break
        if first.ended_before:
            return tried
    raise AssertionError


@pytest.mark.long
def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "value"

    def begin() -> Callable[[], bytes]:
        path.write_bytes(b"old")
        return CachedFile(path, bytes, b"").value

    def change() -> bytes:
        path.write_bytes(b"newer")
        return b"newer"

    assert orders(begin, change, CachedFile.value.__code__) > 100


@pytest.mark.long
def test_a_name_that_moves_while_it_is_looked_up(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL

    def begin() -> Callable[[], list[str]]:
        path.write_bytes(orjson.dumps({"name": "production", "run": "a", "time": 1.0}) + b"\n")
        aliases = Aliases(tmp_path)
        return lambda: [move.run or "" for move in aliases.current().values()]

    def change() -> list[str]:
        with path.open("ab") as file:
            file.write(orjson.dumps({"name": "production", "run": "b", "time": 2.0}) + b"\n")
        return ["b"]

    assert orders(begin, change, Aliases.current.__code__) > 100


def test_a_file_that_comes_is_damaged_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "value"
    file: CachedFile[int] = CachedFile(path, int, -1)
    assert file.value() == -1
    path.write_text("7")
    assert file.value() == 7
    path.write_text("seven")
    for _ in range(2):
        with pytest.raises(DamagedFile):
            file.value()
    path.write_text("77")
    assert file.value() == 77
    path.unlink()
    assert file.value() == -1
