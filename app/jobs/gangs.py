"""The devices of a host, and which of them are free for a run that trains on several.

A worker serves one device. The one that claims a run on several takes those of other workers for it: they claim no run
as long as that one is active, whoever holds it. So nothing has to be given back, whatever dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from app.host.identity import host_name, is_alive
from app.host.workers import HEARTBEAT_TIMEOUT, kind_of, lent_devices
from app.storage.tables import ACTIVE, Run, Source, Worker, now


@dataclass(frozen=True)
class Host:
    """The devices of this host with a worker that is alive and may train on them, of the same kind as `own`. Active
    runs train on those that are `taken`; their workers have `lent` some of these to a run of another worker."""

    own: str
    devices: frozenset[str]
    taken: frozenset[str]
    lent: frozenset[str]

    @classmethod
    def now(cls, session: Session, worker: str, device: str) -> Host:
        """As it is in the transaction of `session`, for the worker `worker` of `device`."""
        here, kind = host_name(), kind_of(device)
        recent = select(Worker).where(col(Worker.seen_at) > now() - HEARTBEAT_TIMEOUT, Worker.host == here)
        found = session.exec(recent.where(col(Worker.ready).is_(True), Worker.id != worker)).all()
        others = {row.device for row in found if kind_of(row.device) == kind and is_alive(row.id)}
        lent = lent_devices(session, here)
        used = {name for name in _held_devices(session, here) if name}
        return cls(device, frozenset({device, *others}), frozenset({*used, *lent}), frozenset(lent))

    def others_for(self, count: int) -> list[str] | None:
        """Return the other devices for a run on `count`; None if these are not free now."""
        if count == 1:
            return None if self.own in self.lent else []
        free = sorted(self.devices - self.taken - {self.own}, key=place)
        return None if self.own in self.taken or len(free) < count - 1 else free[: count - 1]


def _held_devices(session: Session, host: str) -> Sequence[str | None]:
    trained = Run.host == host, Run.source == Source.TRACKSIDE
    return session.exec(select(Run.device).where(col(Run.status).in_(ACTIVE), *trained)).all()


def place(device: str) -> tuple[int, str]:
    """Sorts "cuda:10" behind "cuda:9"."""
    number = device.partition(":")[2]
    return (int(number) if number.isdecimal() else 0), device
