"""The log of the simulated device: a line per event, "<pid> <event> <device> <detail>"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """`kind` is one of init, context, wait, copy, peak, refused, mark, forked; `device` is physical, -1 for none."""

    pid: int
    kind: str
    device: int
    detail: str


@dataclass(frozen=True)
class Log:
    path: Path

    def events(self, *kinds: str, pid: int | None = None) -> list[Event]:
        """Return the events of these kinds, of one process or of all, in order."""
        return [event for event in self._all() if event.kind in kinds and pid in (None, event.pid)]

    def processes(self) -> set[int]:
        """Return the processes that have initialized CUDA."""
        return {event.pid for event in self.events("init")}

    def peak(self, device: int, pid: int | None = None) -> int:
        """Return the most memory in bytes that a process held on a device."""
        return max((int(e.detail) for e in self.events("peak", pid=pid) if e.device == device), default=0)

    def _all(self) -> Iterator[Event]:
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            pid, kind, device, detail = line.split(" ", 3)
            yield Event(int(pid), kind, int(device), detail)
