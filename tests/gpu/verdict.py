"""What a step finds: verdicts, each of which is written as a line of JSON as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

Status = Literal["passed", "failed", "skipped", "not judged", "measured"]


@dataclass(frozen=True)
class Verdict:
    """`measured` is what was found, or why a step was skipped; `mark` what had to be found. `lines` are a table, or
    the end of a log."""

    what: str
    status: Status
    measured: str = ""
    mark: str = ""
    lines: tuple[str, ...] = ()

    def as_json(self, **more: Any) -> bytes:
        return orjson.dumps({**more, **asdict(self)}, option=orjson.OPT_APPEND_NEWLINE)


Tell = Callable[[Verdict], None]


def check(what: str, passed: bool, measured: str = "", mark: str = "", lines: Sequence[str] = ()) -> Verdict:
    return Verdict(what, "passed" if passed else "failed", measured, mark, tuple(lines))


def measurement(what: str, measured: str, lines: Sequence[str] = ()) -> Verdict:
    return Verdict(what, "measured", measured, "", tuple(lines))


def skipped(what: str, reason: str) -> Verdict:
    return Verdict(what, "skipped", reason)
