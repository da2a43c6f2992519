"""Write a task's event files to its row, as `app.jobs.ingest` does for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlmodel import Session

from app.jobs.tail import tail_of
from app.jobs.tasks import publish_task
from app.storage.tables import Status, Task
from app.storage.transitions import guarded_update, move
from trainer.rundir.events import Event, read_on


def ingest_task(session: Session, task: Task, folder: Path) -> Event | None:
    events, tail = read_on(folder, tail_of(task))
    fields: dict[str, Any] = {"tail_attempt": tail.attempt, "tail_offset": tail.offset}
    end = None
    for event in events:
        if event["e"] == "progress":
            fields |= {name: event[name] for name in ("done", "total", "what")}
        elif event["e"] == "end":
            end = event
    if task.status == Status.STARTING and events:
        move(session, task, Status.RUNNING, **fields)
    else:
        guarded_update(session, task, **fields)
    publish_task(session, task)
    return end if tail.attempt == task.attempt else None
