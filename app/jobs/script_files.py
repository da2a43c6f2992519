"""Images, texts and files that a script logs, as rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from app.jobs.script_batch import ScriptBatch
from app.storage.changes import publish
from app.storage.tables import LoggedFile, Media, Run
from trainer.rundir.events import Event

MOST_MEDIA = 100_000  # images and texts of a run
MOST_FILES = 10_000


def add_media(session: Session, run: Run, batch: ScriptBatch, event: Event) -> None:
    if batch.media_left is None:
        batch.media_left = MOST_MEDIA - _count(session, Media, run)
    if batch.media_left <= 0:
        batch.passed_over += 1
        return
    batch.media_left -= 1
    session.add(
        Media(
            run=run.key or 0,
            kind=event["e"],
            name=event["key"],
            step=event["step"],
            number=event.get("index", 0),
            time=event["t"],
            sha256=event.get("sha256"),
            format=event.get("format"),
            text=event.get("text") or event.get("caption") or "",
        )
    )
    batch.fields["step"] = max(event["step"], batch.fields["step"])
    publish(session, run.id, "media", {"run": run.id, "kind": event["e"], "key": event["key"], "step": event["step"]})


def add_file(session: Session, run: Run, batch: ScriptBatch, event: Event) -> None:
    values = {"sha256": event["sha256"], "size": event["size"], "time": event["t"]}
    where = (col(LoggedFile.run) == run.key, col(LoggedFile.path) == event["path"])
    found: Any = session.exec(update(LoggedFile).where(*where).values(**values))
    if not found.rowcount and _count(session, LoggedFile, run) >= MOST_FILES:
        batch.passed_over += 1
    elif not found.rowcount:
        session.add(LoggedFile(run=run.key or 0, path=event["path"], **values))
        session.flush()


def _count(session: Session, table: type[Media | LoggedFile], run: Run) -> int:
    return session.exec(select(func.count()).select_from(table).where(col(table.run) == run.key)).one()
