"""The status of a script run, as its events, its client's silence, and people's requests make it."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from app.jobs.derived_status import moment
from app.runs.public import publish_run
from app.runs.script_rows import SILENT, UNREAD
from app.storage.tables import ACTIVE, Run, Status, now
from app.storage.transitions import guarded_update, move
from trainer.rundir.events import Event


def conclude_script(session: Session, run: Run, end: Event) -> None:
    """Set the run's status from the `end` event of its newest session, in the transaction that ingested the event."""
    if run.status not in ACTIVE:
        return  # its end is known already
    move(session, run, Status(end["status"]), finished_at=moment(end["t"]), phase=None, error=error_of(end))
    publish_run(session, run)


def error_of(end: Event) -> dict[str, Any] | None:
    if end["status"] != "failed":
        return None
    error = end.get("error")
    if error is None:
        code = end.get("exit_code")
        message = "The script failed." if code is None else f"The script ended with exit code {code}."
        return {"code": "script_failed", "message": message, "detail": None}
    return {"code": error["code"], "message": error["message"], "detail": error.get("detail")}


def note_silence(session: Session, run: Run, *, silent: bool) -> None:
    """Record that nothing is heard of the run, or that it is heard again. A silent run that is to stop has stopped."""
    if run.status == Status.STOPPING and silent:
        move(session, run, Status.STOPPED, finished_at=now(), phase=SILENT)
    elif run.status in ACTIVE and silent != (run.phase == SILENT):
        guarded_update(session, run, phase=SILENT if silent else None)
    else:
        return
    publish_run(session, run)


def note_read(session: Session, run: Run) -> None:
    """Record that the late events of an ended run have been read."""
    if run.phase == UNREAD:
        guarded_update(session, run, phase=None)


def fail_script(session: Session, run: Run, error: dict[str, Any]) -> None:
    if run.status in ACTIVE:
        move(session, run, Status.FAILED, finished_at=now(), phase=None, error=error)
        publish_run(session, run)
