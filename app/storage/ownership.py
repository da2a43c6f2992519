"""Which home a database outside of it belongs to: two homes on one would take each other's runs, and not find them."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from sqlmodel import select

from app.storage.db import Database, UnusableDatabase
from app.storage.tables import HomeMark
from trainer.system.durable import write_durably

FILE = "home-id"


def take_ownership(database: Database, home: Path) -> None:
    """Mark the database as that of `home`, whose lock is held. Raises UnusableDatabase: it is another home's."""
    if database.is_sqlite:
        return
    mine = _id_of(home)
    with database.write() as session:
        mark = session.exec(select(HomeMark)).first()
        if mark is None:
            session.add(HomeMark(id=mine, path=str(home.resolve())))
        elif mark.id != mine:
            raise UnusableDatabase(
                f"The database {database.name} belongs to the home {mark.path}: each home needs a database of its own. "
                "If that home is gone, `trackside reindex --from-nothing` empties the database and fills it anew."
            )


def _id_of(home: Path) -> str:
    path = home / FILE
    if not path.exists():
        write_durably(path, uuid4().hex.encode())
    return path.read_text().strip()
