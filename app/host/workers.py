"""The workers that are connected: those with a recent heartbeat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.storage.db import Database
from app.storage.tables import ACTIVE, Run, Source, Worker, now

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
KEPT = timedelta(hours=1)  # rows of workers without a heartbeat; a worker that is suspended writes its row again


def seen_workers(database: Database) -> list[Worker]:
    """The `run` of each is the one that its device trains, also if another worker holds it."""
    with database.read() as session:
        statement = select(Worker).where(col(Worker.seen_at) > now() - HEARTBEAT_TIMEOUT).order_by(col(Worker.device))
        workers = list(session.exec(statement).all())
        used = {_key(host, name): run for run, host, names in _gangs(session) for name in names}
        session.expunge_all()
    for worker in workers:
        worker.run = worker.run or used.get(_key(worker.host, worker.device))
    return workers


def lent_devices(session: Session, host: str | None) -> set[str]:
    """The devices of `host`, or with None of the nodes, on which a run trains whose worker has another one."""
    return {name for _, at, (_, *others) in _gangs(session) for name in others if _key(at, name)[0] == host}


def devices_in_use(session: Session, host: str | None = None) -> set[str]:
    """The devices of `host`, or with None of the nodes, on which active runs train."""
    columns = select(Run.host, Run.device, Run.other_devices)
    rows = session.exec(columns.where(col(Run.status).in_(ACTIVE), Run.source == Source.TRACKSIDE)).all()
    names = {_key(at, name) for at, device, others in rows for name in (device, *(others or [])) if name}
    return {name for at, name in names if at == host}


def _gangs(session: Session) -> list[tuple[str, str | None, Sequence[str]]]:
    """The active runs on several devices: id, host and devices."""
    columns = select(Run.id, Run.host, Run.device, Run.other_devices)
    rows = session.exec(columns.where(col(Run.status).in_(ACTIVE), Run.devices > 1)).all()
    return [(run, host, [device, *(others or [])]) for run, host, device, others in rows if device]


def _key(host: str | None, device: str) -> tuple[str | None, str]:
    """What no two devices share: those of nodes have names that no others have, whichever host trains on them."""
    return (None if is_on_node(device) else host), device


def most_devices(workers: Iterable[Worker]) -> int:
    """The number of devices on which one run can train."""
    return len(largest_pool(workers))


def largest_pool(workers: Iterable[Worker]) -> frozenset[str]:
    """The devices of one kind in one machine, or in all nodes, where these are the most."""
    together: defaultdict[tuple[str | None, str], set[str]] = defaultdict(set)
    for worker in workers:
        if worker.ready:
            host, device = _key(worker.host, worker.device)
            together[host, kind_of(device)].add(device)
    return frozenset(max(together.values(), key=lambda names: len(names), default=()))


def is_on_node(device: str | None) -> bool:
    """Whether the device is one of another machine, which is named before it, as in node/cuda:0."""
    return device is not None and "/" in device


def node_of(device: str) -> str:
    """The name of the node that a device is on; "" for the home's own."""
    return device.rpartition("/")[0]


def kind_of(device: str) -> str:
    return device.rpartition("/")[2].partition(":")[0]


def prune(session: Session) -> None:
    """Delete the rows of workers that were killed: one that ends in order deletes its own."""
    session.exec(delete(Worker).where(col(Worker.seen_at) < now() - KEPT))
