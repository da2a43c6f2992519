"""Event files: whole lines, one at a time, wherever the reader stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.rundir.events import NONFINITE, EventWriter, Position, attempts, next_position, read_from, read_on, walk


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


def four_attempts(folder: Path) -> None:
    """The second attempt's trainer was killed before its first word, the third's in the middle of a line."""
    for number, lines in ((1, "ab"), (2, ""), (3, "cd"), (10, "ef")):
        events = EventWriter(folder, number)
        for line in lines:
            events.emit("log", line=line)
        events.close()
    with (folder / "events" / "3.jsonl").open("ab") as file:
        file.write(b'{"e":"log","t":1,"line":"to')


def test_a_walk_goes_through_all_attempts(tmp_path: Path) -> None:
    assert list(walk(tmp_path)) == []
    four_attempts(tmp_path)
    found = [(attempt, event["line"]) for attempt, event in walk(tmp_path)]
    assert found == [(1, "a"), (1, "b"), (3, "c"), (3, "d"), (10, "e"), (10, "f")]


def test_a_walk_between_two_positions(tmp_path: Path) -> None:
    four_attempts(tmp_path)
    ends = [Position()]  # behind each event, in order
    for number in (1, 3, 10):
        lines = (tmp_path / "events" / f"{number}.jsonl").read_bytes().splitlines(keepends=True)
        ends += [Position(number, len(lines[0])), Position(number, len(lines[0] + lines[1]))]
    for first, after in enumerate(ends):
        for last, until in enumerate(ends):
            found = "".join(event["line"] for _, event in walk(tmp_path, after, until))
            assert found == "abcdef"[first:last]
        assert "".join(event["line"] for _, event in walk(tmp_path, after)) == "abcdef"[first:]


def test_reading_on_comes_to_the_same_as_a_walk(tmp_path: Path) -> None:
    four_attempts(tmp_path)
    at, found = Position(), ""
    while next_position(tmp_path, at) is not None:
        events, at = read_on(tmp_path, at)
        found += "".join(event["line"] for event in events)
    assert found == "abcdef"
    assert at == Position(10, (tmp_path / "events" / "10.jsonl").stat().st_size)
    assert read_on(tmp_path, at) == ([], at)
    with (tmp_path / "events" / "10.jsonl").open("ab") as file:
        file.write(b'{"e":"log","t":1,"line":"g"}\n')
    assert [event["line"] for event in read_on(tmp_path, at)[0]] == ["g"]
