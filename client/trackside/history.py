"""What `log` writes: which values at which step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Callable

from trackside.events import EventFile
from trackside.notices import say_once
from trackside.series import Rules, Series
from trackside.values import flatten, scalar_text

PER_LINE = 4000  # values per event; a line of a million bytes would be hard on every reader

Entry = tuple[Series, str]


class History:
    """Writes scalars as `metrics` events; hands everything else to `media`.

    A series only grows: a value at or before the last step of its series is passed over, with one warning. Values are
    written at once, also those of a step that is not complete yet.
    """

    def __init__(
        self, events: EventFile, session: str, first_step: int, media: Callable[[str, Any, int], None]
    ) -> None:
        self.series: dict[str, Series] = {}
        self.rules = Rules()
        self.step = first_step
        self._first_step = first_step
        self._resumed = first_step > 0
        self._events = events
        self._session = session
        self._media = media

    def add(self, data: Mapping[Any, Any], step: int | None, commit: bool | None) -> None:
        if self.rules.axis_names:
            data = self._take_own_steps(data)
        at = self.step if step is None else step
        entries: list[Entry] = []
        others: list[tuple[Any, Any]] = []
        known = self.series
        for name, value in data.items():
            text = scalar_text(value)
            if text is None:
                others.append((name, value))
                continue
            series = known.get(name) or self._new(name)
            if at <= series.last:
                if step is not None:
                    _warn_backwards(series, at, text)
                    continue
                at = series.last + 1
            entries.append((series, text))
        for name, value in others:
            at = self._add_other(str(name), value, at, step is not None, entries)
        if entries:
            self._write(at, entries)
        if at >= self.step or step is None:
            self.step = at + 1 if (commit if commit is not None else step is None) else at

    def _new(self, name: Any) -> Series:
        name = str(name)
        series = self.series.get(name)
        if series is None:
            series = self.series[name] = Series(name, self.rules.goal_of(name))
        return series

    def _add_other(self, name: str, value: Any, at: int, fixed: bool, entries: list[Entry]) -> int:
        """Add what is not a scalar: the scalars of a nested mapping to `entries`, the rest to the media."""
        if not isinstance(value, Mapping):
            self._media(name, value, at)
            return at
        for inner, item in flatten(value, name + "/"):
            text = scalar_text(item)
            if text is None:
                self._media(inner, item, at)
                continue
            series = self._new(inner)
            if at <= series.last:
                if fixed:
                    _warn_backwards(series, at, text)
                    continue
                at = series.last + 1
            entries.append((series, text))
        return at

    def _write(self, at: int, entries: list[Entry]) -> None:
        if self._resumed:
            self._rewind(at)
        now = time.time()
        for start in range(0, len(entries), PER_LINE):
            part = entries[start : start + PER_LINE]
            values = ",".join([series.prefix + text for series, text in part])
            self._events.write(f'{{"e":"metrics","t":{now!r},"step":{at},"v":{{{values}}}}}\n'.encode())
        for series, text in entries:
            series.add(at, text)

    def _rewind(self, at: int) -> None:
        """The first values of a resumed run: if they repeat earlier steps, those of the session before are replaced."""
        self._resumed = False
        if at < self._first_step:
            self._events.emit("start", from_step=at, session=self._session, again=True)

    def _take_own_steps(self, data: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Write the values whose steps another series gives (`define_metric`), and return the others."""
        flat = dict(flatten(data))
        left: dict[str, Any] = {}
        groups: dict[int, list[Entry]] = {}
        for name, value in flat.items():
            axis = name if name in self.rules.axis_names else self.rules.axis_of(name)
            at = None if axis is None else self._position(flat, axis)
            text = None if at is None else scalar_text(value)
            if at is None or text is None:
                left[name] = value
                continue
            series = self._new(name)
            if at > series.last:
                groups.setdefault(at, []).append((series, text))
            elif name != axis:
                _warn_backwards(series, at, text)
        for at, entries in sorted(groups.items()):
            self._write(at, entries)
            self.step = max(self.step, at)
        return left

    def _position(self, data: Mapping[str, Any], axis: str) -> int | None:
        """The step that `axis` gives: its value here or its latest, if it is a whole number of at least 0."""
        if axis in data:
            text = scalar_text(data[axis]) or ""
        else:
            series = self.series.get(axis)
            text = series.value if series is not None else ""
        try:
            number = float(text)
        except ValueError:
            return None
        return int(number) if number >= 0 and number == int(number) else None


def _warn_backwards(series: Series, at: int, text: str) -> None:
    if at == series.last:
        if text == series.value:  # as Lightning logs the epoch
            return
        say_once(f"{series.name!r} was logged twice at step {at}: the first value is kept.", "logged twice")
    else:
        say_once(
            f"{series.name!r} was logged at step {at} after step {series.last}: steps must increase. This value and "
            "others like it are passed over.",
            "backwards",
        )
