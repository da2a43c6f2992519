"""The projects that runs belong to."""

from __future__ import annotations

from sqlmodel import col, select

from app.storage.db import Database
from app.storage.tables import Run

MOST_PROJECTS = 500


def projects_of(database: Database) -> list[str]:
    """Return the names of the projects that have runs."""
    with database.read() as session:
        names = select(Run.project).where(col(Run.project) != "").distinct().order_by(col(Run.project))
        return list(session.exec(names.limit(MOST_PROJECTS)).all())
