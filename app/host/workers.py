"""The workers that are connected: those with a recent heartbeat."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.storage.db import Database
from app.storage.tables import Worker, now

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
KEPT = timedelta(hours=1)  # rows of workers without a heartbeat; a worker that is suspended writes its row again


def seen_workers(database: Database) -> list[Worker]:
    with database.read() as session:
        statement = select(Worker).where(col(Worker.seen_at) > now() - HEARTBEAT_TIMEOUT).order_by(col(Worker.device))
        return list(session.exec(statement).all())


def prune(session: Session) -> None:
    """Delete the rows of workers that were killed: one that ends in order deletes its own."""
    session.exec(delete(Worker).where(col(Worker.seen_at) < now() - KEPT))
