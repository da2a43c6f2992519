"""Decisions made during a run, by measurement or on request, that change its later steps. Free of torch.

decisions.jsonl holds one decision per line, with the step before which it took effect. A resumed run replays them at
the same steps and does not measure again, so that a stopped and resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from trainer.rundir.folder import RunDir
from trainer.system.durable import append_durably, write_durably

Kind = Literal["precision", "plan", "compile", "execution", "extend", "wind-down"]


@dataclass(frozen=True)
class Decision:
    step: int
    kind: Kind
    values: dict[str, Any]


class Decisions:
    """The decisions of a run in order. `due` returns recorded ones, `take` records a new one."""

    def __init__(self, run_dir: Path) -> None:
        self._path = RunDir(run_dir).decisions
        self._known = _read(self._path, repair=True)
        self._next = 0

    @property
    def taken(self) -> list[Decision]:
        return self._known[: self._next]

    @property
    def replaying(self) -> bool:
        """Whether recorded decisions are left. Nothing new is measured until all have been replayed."""
        return self._next < len(self._known)

    def due(self, step: int) -> list[Decision]:
        """Return the recorded decisions that take effect at or before `step`, each of them once."""
        first = self._next
        while self._next < len(self._known) and self._known[self._next].step <= step:
            self._next += 1
        return self._known[first : self._next]

    def take(self, step: int, kind: Kind, **values: Any) -> Decision:
        """Write a decision durably before it takes effect. Recorded decisions for later steps are discarded."""
        decision = Decision(step, kind, values)
        if self.replaying:
            self._known = self.taken
            write_durably(self._path, b"".join(map(_line, self._known)))
        append_durably(self._path, _line(decision))
        self._known.append(decision)
        self._next = len(self._known)
        return decision

    def insert(self, step: int, kind: Kind, **values: Any) -> Decision:
        """Write a decision durably behind those recorded for steps up to `step`, and keep those for later steps."""
        decision = Decision(step, kind, values)
        at = sum(known.step <= step for known in self._known)
        self._known.insert(at, decision)
        write_durably(self._path, b"".join(map(_line, self._known)))
        self._next += at < self._next
        return decision

    def first(self, kind: Kind) -> Decision | None:
        """Return the first recorded decision of a kind, whether or not it has been replayed."""
        return next((decision for decision in self._known if decision.kind == kind), None)


def recorded(run_dir: Path) -> list[Decision]:
    """Return the decisions of a run that may be training. Raises ValueError: the file is damaged."""
    return _read(RunDir(run_dir).decisions, repair=False)


def _line(decision: Decision) -> bytes:
    fields = {"step": decision.step, "kind": decision.kind, "values": decision.values}
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _read(path: Path, *, repair: bool) -> list[Decision]:
    """Read the complete lines. A last line cut off by a crash never took effect, and `repair` removes it."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if repair and whole < len(data):
        os.truncate(path, whole)
    return [Decision(**orjson.loads(line)) for line in data[:whole].splitlines()]
