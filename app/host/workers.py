"""The workers that are connected: those with a recent heartbeat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.storage.db import Database
from app.storage.tables import ACTIVE, Run, Worker, now

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
KEPT = timedelta(hours=1)  # rows of workers without a heartbeat; a worker that is suspended writes its row again


def seen_workers(database: Database) -> list[Worker]:
    """The `run` of each is the one that its device trains, also if another worker holds it."""
    with database.read() as session:
        statement = select(Worker).where(col(Worker.seen_at) > now() - HEARTBEAT_TIMEOUT).order_by(col(Worker.device))
        workers = list(session.exec(statement).all())
        used = {host: _devices_of_gangs(session, host) for host in {worker.host for worker in workers}}
        session.expunge_all()
    for worker in workers:
        worker.run = worker.run or used[worker.host].get(worker.device)
    return workers


def lent_devices(session: Session, host: str) -> set[str]:
    """The devices of `host` on which a run trains whose worker has another one."""
    return {device for _, _, others in _gangs(session, host) for device in others or []}


def _devices_of_gangs(session: Session, host: str) -> dict[str, str]:
    """The ids of the runs on several devices, by each of these."""
    return {name: run for run, device, others in _gangs(session, host) for name in (device, *(others or [])) if name}


def _gangs(session: Session, host: str) -> list[tuple[str, str | None, Sequence[str] | None]]:
    columns = select(Run.id, Run.device, Run.other_devices)
    rows = session.exec(columns.where(col(Run.status).in_(ACTIVE), Run.host == host, Run.devices > 1)).all()
    return [(run, device, others) for run, device, others in rows]


def most_devices(workers: Iterable[Worker]) -> int:
    """The number of devices on which one run can train: those of one kind in one machine, the most that there are."""
    together: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for worker in workers:
        if worker.ready and not is_on_node(worker.device):  # no run trains on several devices of a node
            together[worker.host, kind_of(worker.device)].add(worker.device)
    return max(map(len, together.values()), default=0)


def is_on_node(device: str | None) -> bool:
    """Whether the device is one of another machine, which is named before it, as in node/cuda:0."""
    return device is not None and "/" in device


def kind_of(device: str) -> str:
    return device.partition(":")[0]


def prune(session: Session) -> None:
    """Delete the rows of workers that were killed: one that ends in order deletes its own."""
    session.exec(delete(Worker).where(col(Worker.seen_at) < now() - KEPT))
