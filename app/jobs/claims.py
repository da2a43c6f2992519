"""Claims on jobs: claiming, renewing and adopting. Every write is guarded by the claim number."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import or_
from sqlmodel import Session, col, select

from app.host.identity import host_name, is_alive
from app.jobs.gangs import Pool
from app.jobs.kinds import RUN, Kind
from app.storage.tables import ACTIVE, Job, Run, Status, now
from app.storage.transitions import guarded_update, move
from trainer.rundir.lock import lock_holder


def lease(seconds: float) -> dict[str, Any]:
    return {"lease_until": now() + timedelta(seconds=seconds)}


def has_work(session: Session, kind: Kind) -> bool:
    found = session.exec(
        select(kind.table.key).where(col(kind.table.status).in_([Status.QUEUED, *ACTIVE]), *kind.trained()).limit(1)
    ).first()
    return found is not None


def claim_next(session: Session, kind: Kind, worker: str, device: str, seconds: float) -> Job | None:
    """Claim the first job of the queue; None if the queue is empty, or this device is taken or kept free.

    A run that needs more devices than this machine has, or the nodes have, is passed over. Else the first one waits
    until as many are free, and no run behind it is started before: it does not wait for ever.
    """
    if kind is RUN:
        return _claim_run(session, worker, device, seconds)
    table = kind.table
    row = session.exec(select(table).where(table.status == Status.QUEUED).order_by(*kind.order()).limit(1)).first()
    return None if row is None else _claim(session, row, worker, device, seconds)


def _claim_run(session: Session, worker: str, device: str, seconds: float) -> Job | None:
    pool = Pool.now(session, worker, device)
    possible = Run.status == Status.QUEUED, col(Run.devices) <= len(pool.devices)
    run = session.exec(select(Run).where(*possible).order_by(*RUN.order()).limit(1)).first()
    if run is None or (others := pool.others_for(run.devices)) is None:
        return None
    return _claim(session, run, worker, device, seconds, other_devices=others or None)


def _claim(session: Session, row: Job, worker: str, device: str, seconds: float, **fields: Any) -> Job:
    first: dict[str, Any] = {} if row.started_at else {"started_at": now()}
    move(
        session,
        row,
        Status.STARTING,
        phase="claimed",
        claim=row.claim + 1,
        attempt=row.attempt + 1,
        worker=worker,
        host=host_name(),
        device=device,
        pid=None,
        **lease(seconds),
        **first,
        **fields,
    )
    return row


def adopt_next(session: Session, kind: Kind, root: Path, worker: str, device: str, seconds: float) -> Job | None:
    """Take over an active job of this device whose worker is dead or let its lease expire.

    `root` holds the jobs' directories. Jobs of other devices are never adopted. A job of another host is adopted once
    its lease has expired and the lock of its directory is free: a container that is made anew has another host name.
    Returns None if there is no such job.
    """
    table = kind.table
    rows = session.exec(
        select(table)
        .where(col(table.status).in_(ACTIVE), col(table.device) == device, *kind.trained())
        .where(or_(col(table.worker) != worker, col(table.worker).is_(None)))
    ).all()
    for row in rows:
        if _is_abandoned(row, root / row.id):
            # A pid of another host says nothing here.
            moved: dict[str, Any] = {} if row.host == host_name() else {"host": host_name(), "pid": None}
            guarded_update(session, row, worker=worker, claim=row.claim + 1, **lease(seconds), **moved)
            return row
    return None


def _is_abandoned(row: Job, folder: Path) -> bool:
    expired = row.lease_until is None or row.lease_until < now()
    if row.host != host_name():
        return expired and lock_holder(folder) is None
    return expired or row.worker is None or not is_alive(row.worker)
