"""The workers that are connected: those with a recent heartbeat."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import col, select

from app.storage.db import Database
from app.storage.tables import Worker, now

HEARTBEAT_TIMEOUT = timedelta(seconds=15)


def seen_workers(database: Database) -> list[Worker]:
    with database.read() as session:
        statement = select(Worker).where(col(Worker.seen_at) > now() - HEARTBEAT_TIMEOUT).order_by(col(Worker.device))
        return list(session.exec(statement).all())
