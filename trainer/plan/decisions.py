"""What was measured or asked for while a run went on and decides its later steps. Free of torch.

decisions.jsonl holds a line for each, with the step before which it took effect. A resumed run takes them again at the
same steps, whatever it would measure now: that is how stopped-and-resumed equals uninterrupted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from trainer.system.durable import append_durably, write_durably

Kind = Literal["plan", "compile", "extend", "wind-down"]
FILE = "decisions.jsonl"


@dataclass(frozen=True)
class Decision:
    step: int
    kind: Kind
    values: dict[str, Any]


class Decisions:
    """The decisions of a run in their order. `due` hands them out; `take` adds one."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._known = _read(self._path)
        self._next = 0

    @property
    def taken(self) -> list[Decision]:
        return self._known[: self._next]

    @property
    def replaying(self) -> bool:
        """Whether recorded decisions lie ahead: until they are through nothing new is measured."""
        return self._next < len(self._known)

    def due(self, step: int) -> list[Decision]:
        """The recorded decisions not yet handed out that take effect before `step`."""
        first = self._next
        while self._next < len(self._known) and self._known[self._next].step <= step:
            self._next += 1
        return self._known[first : self._next]

    def take(self, step: int, kind: Kind, **values: Any) -> Decision:
        """Record a decision, durable before it takes effect. Recorded ones that lie ahead are void by it."""
        decision = Decision(step, kind, values)
        if self.replaying:
            self._known = self.taken
            write_durably(self._path, b"".join(map(_line, self._known)))
        append_durably(self._path, _line(decision))
        self._known.append(decision)
        self._next = len(self._known)
        return decision


def _line(decision: Decision) -> bytes:
    fields = {"step": decision.step, "kind": decision.kind, "values": decision.values}
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _read(path: Path) -> list[Decision]:
    """The whole lines of the file; one torn by a crash never took effect, and is cut off."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    return [Decision(**orjson.loads(line)) for line in data[:whole].splitlines()]
