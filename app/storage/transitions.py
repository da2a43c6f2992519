"""The one table of a job's states, and the one function that changes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col

from app.storage.tables import Job, Status

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


class LostClaim(RuntimeError):
    """Somebody else has the job, or it has left the state that was expected: nothing was written."""


def move(session: Session, job: Job, to: Status, **fields: Any) -> None:
    """Change a job's state, if it is still in the state and under the claim that `job` shows. Raises LostClaim."""
    if to not in TRANSITIONS[Status(job.status)]:
        raise ValueError(f"a {job.status} job cannot become {to}")
    guarded_update(session, job, expected=Status(job.status), status=to, **fields)


def guarded_update(session: Session, job: Job, *, expected: Status | None = None, **fields: Any) -> None:
    """Write `fields` where the claim (and the state, if `expected`) still holds, and show them in `job`."""
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
