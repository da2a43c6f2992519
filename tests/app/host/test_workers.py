"""The rows of workers that were killed go away after a while."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import select

from app.host.workers import KEPT, prune, seen_workers
from app.storage.db import Database
from app.storage.tables import Worker, now


def test_rows_of_killed_workers_are_deleted(database: Database) -> None:
    ages = {"living": timedelta(0), "just killed": KEPT / 2, "long gone": KEPT * 2}
    with database.write() as session:
        for name, age in ages.items():
            session.add(Worker(id=name, host="here", pid=1, device="cpu", seen_at=now() - age))
    with database.write() as session:
        prune(session)
    with database.read() as session:
        assert {row.id for row in session.exec(select(Worker)).all()} == {"living", "just killed"}
    assert [worker.id for worker in seen_workers(database)] == ["living"]
