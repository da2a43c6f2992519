"""The database's product, its version, and its size."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

VERSION = {"sqlite": "SELECT sqlite_version()", "postgresql": "SHOW server_version"}
SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def product(session: Session) -> tuple[str, str]:
    """Return the product, such as `sqlite`, and the version of the library or the server."""
    name = session.get_bind().dialect.name
    return name, str(session.connection().execute(text(VERSION[name])).scalar_one())


def stored_bytes(session: Session) -> int:
    return int(session.connection().execute(text(SIZE[session.get_bind().dialect.name])).scalar_one())
