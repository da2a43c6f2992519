"""What is PostgreSQL's own: its engine, the lock of writers, notifications, and which errors pass.

Imported only where a PostgreSQL database is used: the driver, psycopg, comes with the extra `postgres`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.adapt import PyFormat
from psycopg.types.string import StrDumper
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

WRITERS = 7203  # the advisory lock that each writing transaction holds: change numbers become visible in their order
MIGRATIONS = 7204  # two servers may start at once
CHANNEL = "trackside"
RECONNECT_SECONDS = 1.0
# Connection failures, a server that is ending or starting, lack of connections, deadlocks and failed serialization.
# Locks that are not had in time, also: a process that was suspended during a write holds that of the writers.
PASSING = ("08", "57P", "53", "40", "55P03")
PATIENCE = "30s"
CONNECT_SECONDS = 10
# One statement, as each costs a round trip. The settings are those of this transaction only.
BEGIN_WRITE = text(
    "SELECT set_config('lock_timeout', :patience, true), set_config('synchronous_commit', :commit, true), "
    "pg_advisory_xact_lock(:key)"
)


# The columns are passed as arrays.
UPSERT = (
    "INSERT INTO point (series, step, value, kind, time) "
    "SELECT * FROM unnest(%s::int[], %s::bigint[], %s::float8[], %s::text[], %s::float8[]) "
    "ON CONFLICT (series, step) DO UPDATE SET value=excluded.value, kind=excluded.kind, time=excluded.time"
)


class TextDumper(StrDumper):
    """Writes U+FFFD for NUL, which PostgreSQL's texts cannot have: a script's log line or a path may hold one."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", "\ufffd"))


def make_engine(url: URL, pool_size: int) -> Engine:
    patience = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    engine = create_engine(url, pool_size=pool_size, connect_args=patience)

    @event.listens_for(engine, "connect")
    def on_connect(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.adapters.register_dumper(str, TextDumper)
        assert connection.adapters.get_dumper(str, PyFormat.TEXT) is TextDumper

    return engine


def begin_write(connection: Connection, *, durable: bool) -> None:
    """Wait until no other transaction writes, as SQLite's writers do, and no longer than they."""
    connection.execute(BEGIN_WRITE, {"key": WRITERS, "patience": PATIENCE, "commit": "on" if durable else "off"})


def begin_migration(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATIONS})


def upsert_rows(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert points, or update those whose step exists, in one statement: one for each row takes five times as long."""
    last = {row[:2]: row for row in rows}  # a statement may not update a row twice
    connection.exec_driver_sql(UPSERT, tuple(list(column) for column in zip(*last.values(), strict=True)))


def notify(connection: Connection) -> None:
    """Tell listeners, once the transaction is committed."""
    connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def is_passing(error: DBAPIError) -> bool:
    """Whether the same statements may succeed later."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(error.orig, psycopg.OperationalError) and (state is None or state.startswith(PASSING))


class Listener:
    """A connection that hears of commits. While it is lost, everything may have changed."""

    def __init__(self, url: URL) -> None:
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: psycopg.Connection[Any] | None = None
        self._tried = float("-inf")

    def changed(self) -> bool:
        if self._connection is None:
            self._connect()
            return True
        try:
            return any(True for _ in self._connection.notifies(timeout=0))
        except psycopg.OperationalError:
            self.close()
            return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        now = time.monotonic()
        if now - self._tried < RECONNECT_SECONDS:
            return
        self._tried = now
        try:
            self._connection = psycopg.connect(self._conninfo, autocommit=True, connect_timeout=3)
            self._connection.execute(f"LISTEN {CHANNEL}")
        except psycopg.OperationalError:
            self.close()
