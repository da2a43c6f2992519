"""What is to be sent and what became of it: a journal in the home, which makes every message be sent at least once.

{"e": "due", "key", "alert", "title", "body", "t"}      written before the change that it tells of counts as seen
{"e": "sent", "key", "t"}   {"e": "tried", "key", "t", "attempt", "error"}   {"e": "given_up", "key", "t", "error"}
{"e": "seen", "seq"}                                    the changes up to here have been looked at
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from trainer.system.durable import append_durably, write_durably

FILE = "deliveries.jsonl"
KEPT = 500  # deliveries, when the journal is written anew
LONG = 4 << 20  # bytes, from which it is
WAITS = (5.0, 30.0, 120.0, 600.0, 3600.0, 3600.0 * 6, 3600.0 * 12)  # seconds after each failed attempt

State = Literal["due", "sent", "given up"]


@dataclass(frozen=True)
class Delivery:
    """A message to the target of an alert. `key` tells of what it is: the same is not told twice."""

    key: str
    alert: str
    title: str
    body: str
    time: float
    state: State = "due"
    attempts: int = 0
    error: str = ""
    next_at: float = 0.0


class Journal:
    """Read by every process; written by the one that sends, and by those that ask for a test message."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._offset = 0
        self.deliveries: dict[str, Delivery] = {}
        self.seen: int | None = None

    def catch_up(self) -> None:
        """Read what has been written since."""
        try:
            with self._path.open("rb") as file:
                file.seek(0, 2)
                if file.tell() < self._offset:  # it was written anew
                    self._offset, self.deliveries, self.seen = 0, {}, None
                file.seek(self._offset)
                block = file.read()
        except FileNotFoundError:
            return
        end = block.rfind(b"\n") + 1
        self._offset += end
        for line in block[:end].splitlines():
            try:
                self._apply(orjson.loads(line))
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue  # a torn line: what it told was not acknowledged

    def put(self, deliveries: Iterable[Delivery], seen: int | None = None) -> None:
        """Write new messages, and then that the changes up to `seen` have been looked at; durable on return."""
        lines = [
            {"e": "due", "key": d.key, "alert": d.alert, "title": d.title, "body": d.body, "t": d.time}
            for d in deliveries
        ]
        self._write(*lines, *([] if seen is None else [{"e": "seen", "seq": seen}]))

    def sent(self, delivery: Delivery) -> None:
        self._write({"e": "sent", "key": delivery.key, "t": time.time()})

    def failed(self, delivery: Delivery, error: str) -> None:
        """Note a failed attempt: it is tried again later, until WAITS are used up."""
        attempt = delivery.attempts + 1
        kind = "given_up" if attempt > len(WAITS) else "tried"
        self._write({"e": kind, "key": delivery.key, "t": time.time(), "attempt": attempt, "error": error[:500]})

    def compact(self) -> None:
        """Write the journal anew once it is long, with the latest deliveries. Called by the process that sends."""
        if self._offset < LONG:
            return
        kept = sorted(self.deliveries.values(), key=lambda d: (d.state == "due", d.time))[-KEPT:]
        lines: list[dict[str, Any]] = [{"e": "seen", "seq": self.seen}] if self.seen is not None else []
        for d in kept:
            lines.append({"e": "due", "key": d.key, "alert": d.alert, "title": d.title, "body": d.body, "t": d.time})
            if d.attempts:
                lines.append({"e": "tried", "key": d.key, "t": d.time, "attempt": d.attempts, "error": d.error})
            if d.state != "due":
                kind = "sent" if d.state == "sent" else "given_up"
                lines.append({"e": kind, "key": d.key, "t": d.time, "attempt": d.attempts, "error": d.error})
        write_durably(self._path, b"".join(orjson.dumps(line) + b"\n" for line in lines), mode=0o600)
        self._offset = 0
        self.deliveries = {}
        self.catch_up()

    def _write(self, *lines: dict[str, Any]) -> None:
        if lines:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            append_durably(self._path, b"".join(orjson.dumps(line) + b"\n" for line in lines))
            self.catch_up()

    def _apply(self, line: dict[str, Any]) -> None:
        match line["e"]:
            case "seen":
                self.seen = line["seq"]
            case "due":
                fresh = Delivery(line["key"], line["alert"], line["title"], line["body"], line["t"])
                self.deliveries.setdefault(line["key"], fresh)
            case "sent" | "given_up" | "tried" as kind if line["key"] in self.deliveries:
                known = self.deliveries[line["key"]]
                attempts, error = line.get("attempt", known.attempts), line.get("error", "")
                state: State = "sent" if kind == "sent" else "given up" if kind == "given_up" else "due"
                wait = WAITS[min(attempts, len(WAITS)) - 1] if kind == "tried" else 0.0
                self.deliveries[line["key"]] = replace(
                    known, state=state, attempts=attempts, error=error, next_at=line["t"] + wait
                )
