"""The database of each home that a test makes: SQLite in the home or, where the tests run so, one of PostgreSQL.

TRACKSIDE_TEST_DATABASE=postgresql runs the tests on a real PostgreSQL server, one of each pytest process, in which each
home has a database of its own.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from app.settings import Settings
from app.storage.db import Database
from app.storage.postgres import WRITERS
from tests.postgres import Postgres, postgres

ON_POSTGRES = os.environ.get("TRACKSIDE_TEST_DATABASE", "sqlite") == "postgresql"
TEMPLATE = "migrated"
MOST_UNUSED = 100
DROPPED_AT_ONCE = 15
_SERVER = ExitStack()


def settings_of(home: Path, **values: Any) -> Settings:
    """Settings with the database of `home`: on PostgreSQL an empty, migrated one; on SQLite there is none yet."""
    if ON_POSTGRES and "database_url" not in values:
        values["database_url"] = url_of(home)
    return Settings(home=home, **values)


def home_environment(home: Path) -> dict[str, str]:
    """The environment variables by which a process finds `home` and its database."""
    return {"TRACKSIDE_HOME": str(home)} | ({"TRACKSIDE_DATABASE_URL": url_of(home)} if ON_POSTGRES else {})


def new_database(path: Path) -> Database:
    """An empty, migrated database: the SQLite file `path`, or one of PostgreSQL in its stead."""
    database = Database(url_of(path) if ON_POSTGRES else f"sqlite:///{path}")
    database.migrate()
    return database


def url_of(home: Path) -> str:
    """The PostgreSQL database of `home`, created, empty and migrated, when it is first asked for."""
    databases = _databases()
    name = f"h{blake2b(str(home.resolve()).encode(), digest_size=8).hexdigest()}"
    if name not in databases.names:
        databases.add(name)
    return databases.server.url(name)


def unmigrated_url(path: Path) -> str:
    """An empty database without tables: the SQLite file `path`, or one of PostgreSQL in its stead."""
    if not ON_POSTGRES:
        return f"sqlite:///{path}"
    url = url_of(path)
    _databases().empty(str(make_url(url).database))
    return url


def end_server() -> None:
    """End the server of this process, if there is one, and delete its folder."""
    _SERVER.close()


def delete_database(settings: Settings) -> None:
    """Delete the database. On SQLite it is then gone; on PostgreSQL it is there and has no tables."""
    if ON_POSTGRES:
        _databases().empty(str(settings.url.database))
        return
    for path in Path(str(settings.url.database)).parent.glob("trackside.db*"):
        path.unlink()


def damage_database(settings: Settings) -> None:
    """Make the database unusable for the processes that have it open."""
    if ON_POSTGRES:
        _databases().drop(str(settings.url.database))
        return
    with closing(sqlite3.connect(str(settings.url.database))) as connection:
        connection.execute("DROP TABLE worker")


def may_write(settings: Settings) -> bool:
    """Whether no other process holds the write lock, for a second at most."""
    if ON_POSTGRES:
        with psycopg.connect(settings.url.set(drivername="postgresql").render_as_string(False)) as connection:
            row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [WRITERS]).fetchone()
            return row is not None and bool(row[0])
    try:
        with closing(sqlite3.connect(str(settings.url.database), timeout=1)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


@contextmanager
def databases_of_a_while() -> Iterator[None]:
    """Let go, at the end, of the databases that were made meanwhile."""
    if not ON_POSTGRES:
        yield
        return
    databases = _databases()
    before = set(databases.names)
    yield
    databases.let_go(databases.names - before)


class Databases:
    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.names: set[str] = set()
        self._unused: list[str] = []
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        database = Database(server.url(TEMPLATE))
        database.migrate()
        database.close()

    def add(self, name: str) -> None:
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        self.names.add(name)

    def empty(self, name: str) -> None:
        self.drop(name)
        self.server.execute(f"CREATE DATABASE {name}")
        self.names.add(name)

    def let_go(self, names: set[str]) -> None:
        """Drop a few of the databases that are no longer used, once they are many.

        Each takes 9 MB; to drop one takes a second on a busy machine.
        """
        self._unused += sorted(names)
        if len(self._unused) > MOST_UNUSED:
            for name in self._unused[:DROPPED_AT_ONCE]:
                self.drop(name)
            del self._unused[:DROPPED_AT_ONCE]

    def drop(self, name: str) -> None:
        self.server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.names.discard(name)


@functools.cache
def _databases() -> Databases:
    return Databases(_SERVER.enter_context(postgres("-c fsync=off -c max_connections=400")))
