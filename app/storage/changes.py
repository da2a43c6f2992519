"""The live feed's rows, written in the same transaction as the changes that they report."""

from __future__ import annotations

import time
from typing import Any

import orjson
from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from app.storage.tables import Change

KEPT_CHANGES = 20_000


def publish(session: Session, run: str, kind: str, payload: Any) -> None:
    """Add an event for all clients. The payload is encoded once, here."""
    session.info["published"] = True
    session.add(Change(run=run, kind=kind, payload=orjson.dumps(payload).decode(), time=time.time()))


def current_seq(session: Session) -> int:
    return session.exec(select(func.max(Change.seq))).one() or 0


def prune(session: Session, kept: int = KEPT_CHANGES) -> None:
    session.exec(delete(Change).where(col(Change.seq) <= current_seq(session) - kept))
