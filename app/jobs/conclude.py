"""End a job: as its trainer's `end` event says, or without one."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from sqlmodel import Session

from app.host.workers import is_on_node
from app.jobs.kinds import Kind
from app.storage.tables import Job, Status, now
from app.storage.transitions import move
from trainer.errors import DISK_FULL, DISK_FULL_CODE
from trainer.rundir.events import Event
from trainer.rundir.folder import JobDir
from trainer.rundir.journal import journal

MIN_FREE_BYTES = 1 << 20  # with less, a full disk is taken as the cause of a trainer's exit without an `end` event

log = logging.getLogger(__name__)


def conclude(session: Session, kind: Kind, job: Job, end: Event, max_attempts: int = 1) -> None:
    """Set the job's status from its trainer's `end` event, in the transaction that ingested the event.

    A run for which the disk of a node is too small is queued again, for another device, up to `max_attempts` times.
    """
    reason = end["reason"]
    if reason == "finished":
        move(session, job, Status.FINISHED, finished_at=now(), phase=None, pid=None, **kind.result(end))
    elif reason == "failed" and _may_fit_elsewhere(job, end["error"]) and job.deaths + 1 < max_attempts:
        log.warning("%s: the disk is full where %s is: queued again (deaths: %d)", job.id, job.device, job.deaths + 1)
        move(session, job, Status.QUEUED, phase=None, pid=None, deaths=job.deaths + 1)
    elif reason == "failed":
        move(session, job, Status.FAILED, finished_at=now(), phase=None, pid=None, error=end["error"])
    elif job.status == Status.STOPPING or reason == "held":
        move(session, job, Status.STOPPED, finished_at=now(), phase=None, pid=None)
    else:
        move(session, job, Status.QUEUED, phase=None, pid=None)
    kind.publish(session, job)


def _may_fit_elsewhere(job: Job, error: dict[str, Any] | None) -> bool:
    is_full = error is not None and error.get("code") == DISK_FULL_CODE
    return is_full and is_on_node(job.device) and job.status != Status.STOPPING


def requeue_or_fail(
    session: Session, kind: Kind, job: Job, folder: Path, max_attempts: int, *, interrupted: bool = False
) -> None:
    """Queue a job again, or end it, after its trainer exited without an `end` event.

    The job fails after `max_attempts` such exits. A trainer that was never forked does not count, nor does one that
    its worker has `interrupted`: a task has nothing to save and just exits.
    """
    deaths = job.deaths + (job.pid is not None and not interrupted)
    if job.status == Status.STOPPING:
        move(session, job, Status.STOPPED, finished_at=now(), phase=None, pid=None)
    elif shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        error = {"code": DISK_FULL_CODE, "message": DISK_FULL, "detail": last_output(folder)}
        move(session, job, Status.FAILED, finished_at=now(), phase=None, pid=None, deaths=deaths, error=error)
    elif deaths >= max_attempts:
        error = {
            "code": "trainer_died",
            "message": f"The trainer died {deaths} times without saying why, last at step {getattr(job, 'step', 0)}. "
            "Perhaps it ran out of memory: see the last lines of its output.",
            "detail": last_output(folder),
        }
        move(session, job, Status.FAILED, finished_at=now(), phase=None, pid=None, deaths=deaths, error=error)
        journal(folder, "failed", error=error)  # after `move`, which raises if another worker has the job by now
    else:
        log.warning("%s has no trainer any more: queued again (deaths: %d)", job.id, deaths)
        move(session, job, Status.QUEUED, phase=None, pid=None, deaths=deaths)
    kind.publish(session, job)


def fail(session: Session, kind: Kind, job: Job, error: dict[str, Any]) -> None:
    """End a job that its worker cannot go on with; `error` as `trainer.errors.explain` returns it."""
    if job.status == Status.STOPPING:
        move(session, job, Status.STOPPED, finished_at=now(), phase=None, pid=None)
    else:
        move(session, job, Status.FAILED, finished_at=now(), phase=None, pid=None, error=error)
    kind.publish(session, job)


def last_output(folder: Path, limit: int = 4000) -> str:
    path = JobDir(folder).output
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - limit))
        return file.read().decode(errors="replace")
