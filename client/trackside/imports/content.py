"""The event lines of a run in the files of another tool.

For the same files they are always the same, so that they can be sent again. They stand in the order of the files: a
file that grows only adds lines at the end.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from trackside.imports.items import (
    LATEST,
    Entry,
    Environment,
    Figures,
    Images,
    Item,
    Printed,
    Scalar,
    Settings,
    Source,
    Text,
)
from trackside.values import clean, scalar_text

LONGEST_NAME, LONGEST_TEXT = 500, 100_000  # characters that it accepts
LARGEST_IMAGE = 20 << 20
MAGIC = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
LONGEST_CAPTION = 1000
WRITTEN_AT_ONCE = 10_000  # lines
PER_LINE = 4000  # values

Point = tuple[int, int, float, float]  # position in the files, step, value, time
Value = tuple[int, str, int, float, float]  # position, name as JSON, step, value, time
Line = tuple[int, bytes]  # position in the files

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Content:
    """The lines of one run, in a temporary file that `read` appends to."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the object)
        self.size = 0
        self.first_time = 0.0
        self.last_time = 0.0
        self.points = 0
        self.left_out: Counter[str] = Counter()
        self.images: list[tuple[int, str]] = []  # where the line of an image ends, and its SHA-256
        self._kept = tempfile.TemporaryDirectory(prefix="trackside-")
        self._keys: dict[str, str] = {}  # names of series as JSON
        self._last: dict[str, int] = {}  # the last step of each series

    def close(self) -> None:
        self.lines.close()
        self._kept.cleanup()

    def image_file(self, sha256: str) -> Path:
        return Path(self._kept.name) / sha256

    def read(self) -> bool:
        """Append the lines of what is new in the files. Return whether there is anything new. Raises Unusable.

        Of the values of a series that are new, the last one of a step counts, and they are sorted by their steps. One
        that is not after the last step of an earlier call is left out.
        """
        before = self.size
        series: dict[str, list[Point]] = {}
        others: dict[tuple[str, str, int], list[Line]] = {}
        for position, time, step, item in self._entries():
            if isinstance(item, Scalar):
                series.setdefault(item.name, []).append((position, step, item.value, time))
            else:
                self._add_other(others, position, time, step, item)
        self._write(series, [line for lines in others.values() for line in lines])
        return self.size > before

    def left_out_in_words(self) -> str:
        """What could not be used, for a message; empty if there is nothing."""
        found = self.left_out + self.source.left_out
        words = [f"{count:,} {kind}" for kind, count in sorted(found.items()) if count]
        return ", ".join(words + self.source.damage())

    def bytes_at(self, start: int, end: int) -> bytes:
        self.lines.seek(start)
        return self.lines.read(end - start)

    def whole_lines(self, start: int, limit: int) -> bytes:
        """Return the complete lines from `start` on: about `limit` bytes, at least one line if there is one."""
        block = self.bytes_at(start, start + limit)
        if block and b"\n" not in block:
            block += self.lines.readline()
        return block[: block.rfind(b"\n") + 1]

    def _entries(self) -> Iterator[Entry]:
        """Yield what is new and has a step and time that the server accepts."""
        for position, time, step, item in self.source.entries():
            time = time if 0 <= time <= LATEST else 0.0
            self.first_time = self.first_time or time
            self.last_time = max(self.last_time, time)
            if 0 <= step <= 2**53:
                yield position, time, step, item
            else:
                self.left_out["values at negative steps"] += 1
        if 0 < self.source.began <= LATEST:
            self.first_time = self.source.began

    def _add_other(
        self, others: dict[tuple[str, str, int], list[Line]], position: int, time: float, step: int, item: Item
    ) -> None:
        """Add the lines of an item; those of a text or images in place of what was logged at this step before."""
        if not isinstance(item, (Text, Images)):
            others[type(item).__name__, "", position] = [(position, line) for line in _lines_of(item, time)]
            return
        name = self._name(item.name)
        if not name:
            self.left_out["values with a name of more than 500 characters, or none"] += 1
        elif isinstance(item, Text):
            text = clean(item.text)[:LONGEST_TEXT]
            others["text", name, step] = [(position, _line("text", time, step=step, key=name, text=text))]
        else:
            others["image", name, step] = list(self._image_lines(position, time, step, name, item))

    def _image_lines(self, position: int, time: float, step: int, name: str, item: Images) -> Iterator[Line]:
        for index, data in enumerate(item.data):
            form = next((form for magic, form in MAGIC if data.startswith(magic)), None)
            if form is None or len(data) > LARGEST_IMAGE:
                self.left_out["images that are larger than 20 MiB or of another format"] += 1
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            self.image_file(sha256).write_bytes(data)
            known: dict[str, Any] = {"key": name, "index": index, "sha256": sha256, "size": len(data), "format": form}
            if caption := "".join(item.captions[index : index + 1]):
                known["caption"] = clean(caption)[:LONGEST_CAPTION]
            yield position, _line("image", time, step=step, **known)

    def _write(self, series: dict[str, list[Point]], others: list[Line]) -> None:
        """Append the lines by their position."""
        entries: list[Value] = []
        for name, points in series.items():
            shown = self._name(name)
            if not shown:
                self.left_out["values with a name of more than 500 characters, or none"] += len(points)
                continue
            if shown not in self._keys:
                self._keys[shown] = _encode(shown)
            key = self._keys[shown]
            entries.extend(
                (position, key, step, value, time) for position, step, value, time in self._rising(shown, points)
            )
            points.clear()
        self.points += len(entries)
        entries.sort(key=lambda entry: entry[0])
        self._append(_merged(_metrics(entries), sorted(others, key=lambda line: line[0])))

    def _rising(self, name: str, points: list[Point]) -> list[Point]:
        """Return the points with increasing steps, and positions that do not decrease."""
        last = self._last.get(name, -1)
        at = last
        for point in points:
            if point[1] <= at:
                points = self._sorted(last, points)
                break
            at = point[1]
        if points:
            self._last[name] = points[-1][1]
        return points

    def _sorted(self, last: int, points: list[Point]) -> list[Point]:
        latest = {point[1]: point for point in points}
        kept, position = [], 0
        for step in sorted(latest):
            position = max(position, latest[step][0])
            if step > last:
                kept.append((position, *latest[step][1:]))
        self.left_out["values at steps that were passed already"] += len(latest) - len(kept)
        return kept

    def _append(self, lines: Iterable[bytes]) -> None:
        self.lines.seek(self.size)
        found = iter(lines)
        while part := list(islice(found, WRITTEN_AT_ONCE)):
            at = self.size
            for line in part:
                at += len(line)
                if line.startswith(b'{"e":"image"'):
                    self.images.append((at, json.loads(line)["sha256"]))
            self.lines.write(b"".join(part))
            self.size = at

    def _name(self, name: str) -> str:
        """The name as the server accepts it; empty if it does not."""
        return clean(name) if len(name) <= LONGEST_NAME else ""


def _metrics(entries: list[Value]) -> Iterator[Line]:
    """Values of one place in the files, step and time share a line."""
    for (position, step, time), group in groupby(entries, key=itemgetter(0, 2, 4)):
        while part := ",".join([f"{value[1]}:{scalar_text(value[3])}" for value in islice(group, PER_LINE)]):
            yield position, f'{{"e":"metrics","t":{time!r},"step":{step},"v":{{{part}}}}}\n'.encode()


def _merged(first: Iterator[Line], second: list[Line]) -> Iterator[bytes]:
    """The lines of both by their positions."""
    waiting = iter(second)
    other = next(waiting, None)
    for position, line in first:
        while other is not None and other[0] < position:
            yield other[1]
            other = next(waiting, None)
        yield line
    while other is not None:
        yield other[1]
        other = next(waiting, None)


def _lines_of(item: Item, time: float) -> list[bytes]:
    """The lines of what has no step."""
    if isinstance(item, Printed):
        return [_line("log", time, line=clean(line)[:LONGEST_TEXT]) for line in item.lines]
    for kind, name in ((Settings, "config"), (Environment, "environment"), (Figures, "summary")):
        if isinstance(item, kind):
            return [_line(name, time, v=item.values)]
    return []


def _line(kind: str, time: float, **known: Any) -> bytes:
    return f'{{"e":"{kind}","t":{time!r},{_encode(known)[1:]}\n'.encode()
