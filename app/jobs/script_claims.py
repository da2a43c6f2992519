"""Claims on script runs, which are followed and never started: any number of them by one worker."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, update
from sqlmodel import Session, col, select

from app.host.identity import host_name, is_alive
from app.runs.script_rows import UNREAD
from app.storage.tables import ACTIVE, Run, Source, now
from app.storage.transitions import LostClaim, guarded_update

_FOLLOWED = (col(Run.source) == Source.SCRIPT, or_(col(Run.status).in_(ACTIVE), col(Run.phase) == UNREAD))


def unclaimed(session: Session, worker: str, held: Collection[int]) -> list[int]:
    """Return the keys of the runs that should be followed and that no worker follows which is alive."""
    columns = col(Run.key), col(Run.worker), col(Run.host), col(Run.lease_until)
    rows = session.exec(select(*columns).where(*_FOLLOWED)).all()
    return [
        key
        for key, owner, host, lease in rows
        if key is not None and key not in held and _is_free(worker, owner, host, lease)
    ]


def claim(session: Session, key: int, worker: str, seconds: float) -> Run | None:
    """Claim a run that `unclaimed` returned, unless another worker was faster."""
    row = session.get(Run, key)
    if row is None or not _is_free(worker, row.worker, row.host, row.lease_until):
        return None
    guarded_update(session, row, worker=worker, host=host_name(), claim=row.claim + 1, **_lease(seconds))
    return row


def renew(session: Session, keys: Collection[int], worker: str, seconds: float) -> None:
    """Renew the leases of the runs that are still this worker's."""
    session.exec(update(Run).where(col(Run.key).in_(keys), col(Run.worker) == worker).values(**_lease(seconds)))


def release(session: Session, keys: Collection[int], worker: str) -> None:
    """Leave the runs to other workers."""
    mine = (col(Run.key).in_(keys), col(Run.worker) == worker)
    session.exec(update(Run).where(*mine).values(worker=None, lease_until=None))


def held_row(session: Session, key: int, number: int) -> Run:
    """Return the row of a run that is held under the claim `number`. Raises LostClaim."""
    row = session.get(Run, key)
    if row is None or row.claim != number:
        raise LostClaim(f"the script run {key} is no longer held under claim {number}")
    return row


def _is_free(worker: str, owner: str | None, host: str | None, lease: Any) -> bool:
    if owner is None or owner == worker:
        return True
    return lease is None or lease < now() or (host == host_name() and not is_alive(owner))


def _lease(seconds: float) -> dict[str, Any]:
    return {"lease_until": now() + timedelta(seconds=seconds)}
