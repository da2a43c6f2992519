"""Processor time and memory of a process and its descendants, from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

PROC = Path("/proc")


class ProcessTree:
    """Without /proc (macOS) there is nothing to measure."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._before: dict[int, int] = {}
        self._measured = time.monotonic()
        self.sample()

    def sample(self) -> dict[str, float]:
        """Return the processor time since the last call, in percent of a core, and the memory; empty if it is gone."""
        known = _processes()
        now = time.monotonic()
        spent: dict[int, int] = {}
        pages = 0
        for pid in descendants(self._root, known):
            _parent, ticks, resident = known[pid]
            spent[pid] = ticks
            pages += resident
        used = sum(ticks - self._before.get(pid, 0) for pid, ticks in spent.items())
        seconds, self._before, self._measured = now - self._measured, spent, now
        if not spent or seconds <= 0:
            return {}
        return {
            "cpu_percent": round(100 * max(0, used) / self._ticks / seconds, 1),
            "memory_mb": round(pages * self._page / 1e6, 1),
        }


def descendants(root: int, known: dict[int, tuple[int, int, int]] | None = None) -> list[int]:
    """The process `root`, if it is alive, and all below it."""
    known = _processes() if known is None else known
    children: dict[int, list[int]] = {}
    for pid, (parent, _ticks, _pages) in known.items():
        children.setdefault(parent, []).append(pid)
    found, left = [], [root] if root in known else []
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found


def _processes() -> dict[int, tuple[int, int, int]]:
    """Parent, clock ticks spent and resident pages of every process."""
    found: dict[int, tuple[int, int, int]] = {}
    if not PROC.is_dir():
        return found
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended
                continue
            fields = text.rpartition(")")[2].split()
            found[int(entry.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21]))
    return found
