"""The table of allowed status transitions of a job, and the only functions that change a job's status."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col

from app.storage.tables import Job, Run, Source, Status

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.STARTING, Status.STOPPED, Status.FAILED}),
    Status.STARTING: frozenset(
        {Status.RUNNING, Status.STOPPING, Status.QUEUED, Status.STOPPED, Status.FINISHED, Status.FAILED}
    ),
    Status.RUNNING: frozenset({Status.STOPPING, Status.QUEUED, Status.STOPPED, Status.FINISHED, Status.FAILED}),
    Status.STOPPING: frozenset({Status.STOPPED, Status.FINISHED, Status.FAILED}),
    Status.FINISHED: frozenset({Status.QUEUED}),
    Status.STOPPED: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.QUEUED}),
}

# A script is started and resumed by a person: its run goes on whenever it is heard of again.
FOLLOWED: dict[Status, frozenset[Status]] = {
    Status.STOPPING: frozenset({Status.RUNNING}),
    Status.FINISHED: frozenset({Status.RUNNING}),
    Status.STOPPED: frozenset({Status.RUNNING, Status.STOPPING}),
    Status.FAILED: frozenset({Status.RUNNING}),
}


class LostClaim(RuntimeError):
    """The job was claimed anew or has left the expected status. Nothing was written."""


def move(session: Session, job: Job, to: Status, **fields: Any) -> None:
    """Change a job's status, provided that its status and claim in the database are still those of `job`.

    Raises LostClaim if they are not, and ValueError for a transition that is not allowed.
    """
    if to not in _allowed(job):
        raise ValueError(f"a {job.status} job cannot become {to}")
    guarded_update(session, job, expected=Status(job.status), status=to, **fields)


def _allowed(job: Job) -> frozenset[Status]:
    now = Status(job.status)
    if isinstance(job, Run) and job.source == Source.SCRIPT:
        return (TRANSITIONS[now] | FOLLOWED.get(now, frozenset())) - {Status.QUEUED, Status.STARTING}
    return TRANSITIONS[now]


def guarded_update(session: Session, job: Job, *, expected: Status | None = None, **fields: Any) -> None:
    """Update `fields` in the database and in `job`, provided that the claim (and the status, if `expected`) matches.

    Raises LostClaim if it does not.
    """
    kind: Any = type(job)
    statement = update(kind).where(col(kind.id) == job.id, col(kind.claim) == job.claim)
    if expected is not None:
        statement = statement.where(col(kind.status) == expected)
    with session.no_autoflush:
        result: Any = session.exec(statement.values(**fields).execution_options(synchronize_session=False))
    if result.rowcount != 1:
        raise LostClaim(f"{job.id} is no longer held under claim {job.claim}")
    session.expunge(job) if job in session else None
    for name, value in fields.items():
        setattr(job, name, value)
