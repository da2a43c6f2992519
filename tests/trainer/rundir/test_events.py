"""Event files: whole lines, one at a time, wherever the reader stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.rundir.events import NONFINITE, EventWriter, attempts, read_from


def test_numbers_that_json_lacks_travel_as_names(tmp_path: Path) -> None:
    events = EventWriter(tmp_path, 1)
    events.metrics(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.1})
    events.close()
    (event,), _ = read_from(events.path, 0)
    assert event["v"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 0.1}
    assert math.isnan(NONFINITE[event["v"]["a"]])
    assert [NONFINITE[event["v"][name]] for name in "bc"] == [math.inf, -math.inf]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=12), st.integers(1, 120))
def test_a_file_is_read_once_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], limit: int
) -> None:
    events = EventWriter(tmp_path_factory.mktemp("events"), 1)
    for line in lines:
        events.emit("log", line=line)
    events.close()
    found: list[str] = []
    offset = 0
    while True:
        block, following = read_from(events.path, offset, limit)
        if following == offset:
            break
        found += [event["line"] for event in block]
        offset = following
    assert found == lines
    assert offset == events.path.stat().st_size


def test_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    whole, torn = b'{"e":"log","t":1,"line":"a"}\n', b'{"e":"log","t":1,"line":"b"}\n'
    for cut in range(len(torn)):
        path.write_bytes(whole + torn[:cut])
        assert read_from(path, 0) == ([{"e": "log", "t": 1, "line": "a"}], len(whole))
        assert read_from(path, len(whole)) == ([], len(whole))
    path.write_bytes(whole + torn)
    assert read_from(path, len(whole)) == ([{"e": "log", "t": 1, "line": "b"}], len(whole + torn))


@pytest.mark.parametrize("broken", [b"\0" * 40, b"{", b"[1]", b'{"no": "kind"}', b"", b"\xff"])
def test_a_line_that_is_no_event_is_passed_over(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "1.jsonl"
    path.write_bytes(b'{"e":"a"}\n' + broken + b'\n{"e":"b"}\n')
    events, offset = read_from(path, 0)
    assert [event["e"] for event in events] == ["a", "b"]
    assert offset == path.stat().st_size


@pytest.mark.parametrize("text", ["\u2028", "\x0b", "\x0c", "\x85", "\r", "\n", "\x1c", "\ud7ff"])
def test_only_a_newline_ends_a_line(tmp_path: Path, text: str) -> None:
    events = EventWriter(tmp_path, 1)
    events.emit("log", line=f"a{text}b")
    events.close()
    assert [event["line"] for event in read_from(events.path, 0)[0]] == [f"a{text}b"]


def test_each_attempt_has_its_file_and_only_grows(tmp_path: Path) -> None:
    for number in (10, 2, 2, 1):
        events = EventWriter(tmp_path, number)
        events.emit("start", attempt=number)
        events.close()
    (tmp_path / "events" / "notes.jsonl").write_text("")
    assert attempts(tmp_path) == [1, 2, 10]
    assert len((tmp_path / "events" / "2.jsonl").read_bytes().splitlines()) == 2


def test_what_json_cannot_hold_is_an_error_not_a_torn_line(tmp_path: Path) -> None:
    events = EventWriter(tmp_path, 1)
    tries: list[Callable[[], None]] = [
        lambda: events.emit("log", line="\ud800"),
        lambda: events.emit("log", line=2**64),
    ]
    for write in tries:
        with pytest.raises(orjson.JSONEncodeError):
            write()
    events.close()
    assert events.path.read_bytes() == b""
