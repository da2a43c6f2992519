"""The only module that depends on the kind of database: engine, transactions, migrations, change hints.

SQLite is the default; what is PostgreSQL's own is in app.storage.postgres, which is imported where it is used.
"""

from __future__ import annotations

import importlib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlmodel import Session, SQLModel

from app.errors import CommandError
from app.storage.migrations import REVISIONS
from trainer.rundir.events import nonfinite_name

BUSY_SECONDS = 30
PointRow = tuple[int, int, float | None, str | None, float]  # series, step, value, kind, time
POINT = "point (series, step, value, kind, time)"
OR_UPDATE = "ON CONFLICT (series, step) DO UPDATE SET value=excluded.value, kind=excluded.kind, time=excluded.time"
PUBLISHED = "published"  # in a session's `info`: it has added a change of the live feed
POOL_SIZE = 40  # the web process's reading threads: a connection beyond the pool is opened and closed for each read


class UnusableDatabase(CommandError):
    """The database cannot be opened, or its schema is not this version's."""


class SchemaTooNew(UnusableDatabase):
    """The database was written by a newer Trackside."""


class SchemaTooOld(UnusableDatabase):
    """The database was written by an older Trackside and has not been migrated."""


class Database:
    """Owns the engine. Sessions are opened only by `read()` and `write()`."""

    def __init__(self, url: URL | str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(self.url)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session whose queries all see the database as it was at the first of them."""
        with Session(self.engine, expire_on_commit=False) as session:
            if not self.is_sqlite:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Session]:
        """Open one transaction. It holds the write lock from its start, so that its reads cannot become stale.

        `durable=False` skips the fsync, for data that can be restored from the event files.
        """
        with Session(self.engine, expire_on_commit=False) as session:
            if self.is_sqlite:
                connection = session.connection()
                raw: Any = connection.connection.driver_connection
                raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                postgres().begin_write(session.connection(), durable=durable)
            yield session
            session.flush()
            if not self.is_sqlite and session.info.get(PUBLISHED):
                postgres().notify(session.connection())
            session.commit()

    def exists(self) -> bool:
        """Return whether there is a database that was set up. Raises UnusableDatabase: it cannot be opened."""
        if self.is_sqlite:
            return not self.url.database or Path(self.url.database).exists()
        with self._opening():
            return self._revision() is not None

    def migrate(self) -> None:
        """Upgrade the schema to this version. Raises UnusableDatabase: it cannot be opened, or is a newer version's."""
        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        with self._opening():
            if self._revision() != REVISIONS[-1]:
                from app.storage.upgrade import upgrade  # loads Alembic, which takes 0.2 s

                upgrade(self.url)

    def check(self) -> None:
        """Check that the schema is this version's, and change nothing. Raises UnusableDatabase: it is not.

        For commands that only read: the database may be in use by a server of another version.
        """
        if not self.exists():
            raise UnusableDatabase(
                f"There is no database at {self.name}. `trackside serve` creates it."
                if self.is_sqlite
                else f"The database at {self.name} is empty. `trackside serve` sets it up."
            )
        with self._opening():
            current = self._revision()
        if current != REVISIONS[-1]:
            raise SchemaTooOld(
                f"The database at {self.name} has schema {current}, of an older version of Trackside. This version "
                "upgrades it when `trackside serve` starts."
            )

    def _revision(self) -> str | None:
        """Return the schema's revision, None if there is none yet. Raises SchemaTooNew: it is unknown."""
        with self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            current: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if current is not None and current not in REVISIONS:
            raise SchemaTooNew(
                f"The database at {self.name} has schema {current}, which this version of Trackside does not know. "
                "Upgrade Trackside, or point TRACKSIDE_HOME elsewhere."
            )
        return current

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            reason = " ".join(str(error.orig).split())
            advice = (
                "If it is damaged, end `trackside serve`, delete it, and run `trackside reindex`."
                if self.is_sqlite
                else "Check TRACKSIDE_DATABASE_URL, and that the server runs."
            )
            raise UnusableDatabase(f"The database at {self.name} cannot be opened: {reason}. {advice}") from error

    @property
    def name(self) -> str:
        """For people: without a password."""
        return str(self.url.database) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    def clear(self) -> None:
        """Delete all tables, whatever is in them."""
        with self._opening(), self.engine.begin() as connection:
            SQLModel.metadata.drop_all(connection)
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))

    def close(self) -> None:
        self.engine.dispose()


def upsert_points(
    session: Session,
    series: int,
    steps: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    times: npt.NDArray[np.float64],
) -> None:
    """Insert points of one series, or update those whose step exists. Arrays have shape (n,), times UNIX seconds."""
    upsert_rows(session, rows_of(series, steps, values, times))


def rows_of(
    series: int, steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], times: npt.NDArray[np.float64]
) -> list[PointRow]:
    """Return points of one series as `upsert_rows` takes them."""
    return [
        (series, step, value, None, t) if math.isfinite(value) else (series, step, None, nonfinite_name(value), t)
        for step, value, t in zip(steps.tolist(), values.tolist(), times.tolist(), strict=True)
    ]


def upsert_rows(session: Session, rows: Sequence[PointRow]) -> None:
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        postgres().upsert_rows(connection, rows)
        return
    connection.exec_driver_sql(f"INSERT INTO {POINT} VALUES (?, ?, ?, ?, ?) {OR_UPDATE}", list(rows))


class Hint(Protocol):
    def changed(self) -> bool: ...
    def close(self) -> None: ...


class ChangeHint:
    """Tells cheaply whether another connection may have committed since the last call (5 µs on SQLite).

    PostgreSQL notifies of transactions that have published a change.
    """

    def __init__(self, database: Database) -> None:
        self._raw: sqlite3.Connection | None = None
        self._version = -1
        if database.is_sqlite:
            self._raw = sqlite3.connect(str(database.url.database), check_same_thread=False, isolation_level=None)
        else:
            self._listener = postgres().Listener(database.url)

    def changed(self) -> bool:
        if self._raw is None:
            return bool(self._listener.changed())
        version = self._raw.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        return True

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
        else:
            self._listener.close()


def is_passing(error: OperationalError) -> bool:
    """Whether the same may succeed later: the database is locked, its disk is full, or it cannot be reached.

    A process that was suspended during a write holds SQLite's lock.
    """
    if isinstance(error.orig, sqlite3.Error):
        return "locked" in str(error) or "is full" in str(error)
    return bool(postgres().is_passing(error))


def postgres() -> ModuleType:
    """The module of what is PostgreSQL's own. Its driver is there: app.environment has looked for it."""
    return importlib.import_module("app.storage.postgres")


def _engine(url: URL) -> Engine:
    match url.get_backend_name():
        case "sqlite":
            return _sqlite_engine(url)
        case "postgresql":
            engine: Engine = postgres().make_engine(url, POOL_SIZE)
            return engine
        case other:
            raise UnusableDatabase(f"The database {other} is not supported: SQLite and PostgreSQL are.")


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA temp_store=MEMORY")

    return engine
