"""A job's status, derived from its directory alone: from its events and its journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.storage.tables import Status
from trainer.rundir.events import Event, Position, walk

ENDS = {"finished": Status.FINISHED, "failed": Status.FAILED, "held": Status.STOPPED}


@dataclass
class EventSummary:
    """The events of a job that its status depends on.

    `started` is the time of the first `start` event in seconds since the epoch, `attempt` the attempt of the last
    event, `end` the `end` event unless a later attempt has started, and `saved` the time of each checkpoint by step.
    """

    started: float | None = None
    attempt: int = 0
    end: Event | None = None
    saved: dict[int, datetime] = field(default_factory=dict)


def summarize_events(folder: Path, until: Position) -> EventSummary:
    """Summarize the events of the job in `folder` up to `until`, the position up to which they were ingested."""
    summary = EventSummary()
    for summary.attempt, event in walk(folder, until=until):
        match event["e"]:
            case "start":
                summary.started = summary.started or event["t"]
                summary.end = None
            case "checkpoint":
                summary.saved[event["step"]] = moment(event["t"])
            case "end":
                summary.end = event
    return summary


def derive_status(summary: EventSummary, journal: list[dict[str, Any]], *, alive: bool) -> dict[str, Any]:
    """Return the job's `status` and the columns that depend on it: `started_at`, `finished_at`, `error`.

    `alive` is whether a trainer holds the job's lock.
    """
    entries = [line for line in journal if line.get("e") in ("stop", "resume", "failed")]
    last = entries[-1] if entries else None
    end = summary.end
    fields: dict[str, Any] = {"started_at": None if summary.started is None else moment(summary.started)}
    if end is not None and end["reason"] in ENDS:
        # A stop that came too late changes nothing; a resume after the end does.
        if not any(line["e"] == "resume" and is_later(line, summary.attempt, end) for line in entries):
            return fields | {"status": ENDS[end["reason"]], "error": end["error"], "finished_at": moment(end["t"])}
    elif end is None and alive:
        stopping = last is not None and last["e"] == "stop"
        return fields | {"status": Status.STOPPING if stopping else Status.RUNNING}
    if last is not None and last["e"] == "failed":
        return fields | {"status": Status.FAILED, "error": last["error"], "finished_at": moment(last["t"])}
    if last is not None and last["e"] == "stop":
        ended = max(last["t"], end["t"] if end is not None else 0)
        return fields | {"status": Status.STOPPED, "finished_at": moment(ended)}
    return fields | {"status": Status.QUEUED}


def is_later(resume: dict[str, Any], attempt: int, end: Event) -> bool:
    """Whether a `resume` entry of the journal was written after `end`, the `end` event of `attempt`.

    Attempts are compared, because the clock may have been set back; an entry without one is compared by time.
    """
    later: bool = resume["attempt"] >= attempt if "attempt" in resume else resume["t"] > end["t"]
    return later


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
