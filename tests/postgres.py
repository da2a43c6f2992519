"""A real PostgreSQL server of one's own, for tests: without TCP, durable as a default one, ended at exit."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

PROGRAMS = ("initdb", "pg_ctl")
# Where it is "required", as in CI, tests that need PostgreSQL fail if it is not installed; elsewhere they are skipped.
REQUIRED = os.environ.get("TRACKSIDE_TEST_POSTGRES") == "required"
IS_MISSING = not REQUIRED and not all(map(shutil.which, PROGRAMS))
needs_postgres = pytest.mark.skipif(IS_MISSING, reason="initdb and pg_ctl of PostgreSQL are not on the PATH")


class Postgres:
    def __init__(self, folder: Path) -> None:
        self.data, self.sockets = folder / "data", folder
        if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
            shutil.chown(folder, "nobody", "nogroup")
        self._run("initdb", "-D", str(self.data), "-U", "trackside", "--auth=trust", "--no-sync", "--encoding=UTF8")

    def start(self, options: str = "") -> None:
        options = f"-k {self.sockets} -c listen_addresses='' -c timezone=Asia/Tokyo {options}"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.sockets / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"t{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://trackside@/{name}?host={self.sockets}"

    def execute(self, statement: str) -> None:
        """Execute a statement of the server's owner, outside of a transaction."""
        with psycopg.connect(f"user=trackside dbname=postgres host={self.sockets}", autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *words: str) -> None:
        user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        # Into a file: what the server inherits of a pipe would keep it open.
        with (self.sockets / f"{program}.out").open("ab") as output:
            subprocess.run([program, *words], stdout=output, stderr=output, check=True, timeout=60, cwd="/", **user)  # type: ignore[call-overload]


@contextmanager
def postgres(options: str = "") -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # a short path: that of a socket has 107 characters
        server = Postgres(Path(folder))
        server.start(options)
        try:
            yield server
        finally:
            server.stop("immediate")
