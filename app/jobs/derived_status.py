"""Where a job stands by its directory alone: what its trainers said, and what people have asked since."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.storage.tables import Status
from trainer.rundir.events import Event, Position, walk


@dataclass
class Told:
    """What matters of a job's events: when it first started, how it ended (if it did), and when it saved which step.

    `attempt` is the one that spoke last.
    """

    started: float | None = None
    attempt: int = 0
    end: Event | None = None
    saved: dict[int, datetime] = field(default_factory=dict)


def read_told(folder: Path, until: Position) -> Told:
    """Read the events of `folder` up to where they were ingested, and no further."""
    told = Told()
    for told.attempt, event in walk(folder, until=until):
        match event["e"]:
            case "start":
                told.started = told.started or event["t"]
                told.end = None
            case "checkpoint":
                told.saved[event["step"]] = moment(event["t"])
            case "end":
                told.end = event
    return told


def stand(told: Told, journal: list[dict[str, Any]], *, alive: bool) -> dict[str, Any]:
    """The status, and what goes with it."""
    asked = [line for line in journal if line.get("e") in ("stop", "resume", "failed")]
    wish = asked[-1] if asked else None
    end = told.end
    fields: dict[str, Any] = {"started_at": None if told.started is None else moment(told.started)}
    if end is not None and end["reason"] in ("finished", "failed"):
        # A stop that came too late changes nothing; a resume does.
        if not any(line["e"] == "resume" and is_later(line, told.attempt, end) for line in asked):
            status = Status.FINISHED if end["reason"] == "finished" else Status.FAILED
            return fields | {"status": status, "error": end["error"], "finished_at": moment(end["t"])}
    elif end is None and alive:
        stopping = wish is not None and wish["e"] == "stop"
        return fields | {"status": Status.STOPPING if stopping else Status.RUNNING}
    if wish is not None and wish["e"] == "failed":
        return fields | {"status": Status.FAILED, "error": wish["error"], "finished_at": moment(wish["t"])}
    if wish is not None and wish["e"] == "stop":
        ended = max(wish["t"], end["t"] if end is not None else 0)
        return fields | {"status": Status.STOPPED, "finished_at": moment(ended)}
    return fields | {"status": Status.QUEUED}


def is_later(resume: dict[str, Any], attempt: int, end: Event) -> bool:
    """By the attempt that had been made when it was asked for: the clock may have been set back."""
    later: bool = resume["attempt"] >= attempt if "attempt" in resume else resume["t"] > end["t"]
    return later


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
