"""What `serve` says of a PostgreSQL database that it cannot use: one line without a traceback or a password."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from app.supervisor import free_port
from tests.postgres import Postgres, needs_postgres, postgres

SECRET = "word-of-the-test"
SERVE = ["serve", "--port", "0", "--workers", "0"]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as found:
        found.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")
        rules = found.data / "pg_hba.conf"
        rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
        found.execute("SELECT pg_reload_conf()")
        yield found


def said(home: Path, url: str) -> str:
    """The one line with which `trackside serve` refuses this database."""
    ended = CliRunner().invoke(main, SERVE, env={"TRACKSIDE_HOME": str(home), "TRACKSIDE_DATABASE_URL": url})
    assert ended.exit_code == 1
    assert "Traceback" not in ended.output
    assert SECRET not in ended.output
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    return ended.stderr


def test_a_server_that_does_not_run(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    line = said(tmp_path, f"postgresql://me:{SECRET}@127.0.0.1:{port}/trackside")
    assert "Connection refused" in line
    assert line.endswith("Check TRACKSIDE_DATABASE_URL, and that the server runs.\n")


def test_a_host_that_is_unknown(tmp_path: Path) -> None:
    line = said(tmp_path, f"postgresql://me:{SECRET}@nosuch.invalid/trackside")
    assert "The database at postgresql+psycopg://me:***@nosuch.invalid/trackside cannot be opened: " in line


@needs_postgres
def test_a_wrong_password_and_a_database_that_is_not_there(tmp_path: Path, server: Postgres) -> None:
    there, host = server.new_database(), server.sockets
    line = said(tmp_path, there.replace("trackside@", f"guarded:not-{SECRET}@"))
    assert 'password authentication failed for user "guarded"' in line
    line = said(tmp_path, f"postgresql://guarded:{SECRET}@/nothing?host={host}")
    assert 'database "nothing" does not exist' in line


@needs_postgres
def test_a_database_of_another_home(tmp_path: Path, server: Postgres) -> None:
    url, first = server.new_database(), tmp_path / "first"
    environment = {"TRACKSIDE_HOME": str(first), "TRACKSIDE_DATABASE_URL": url}
    assert CliRunner().invoke(main, ["reindex"], env=environment).exit_code == 0
    line = said(tmp_path / "second", url)
    assert f"belongs to the home {first}: each home needs a database of its own." in line


def test_a_missing_driver_is_named_with_what_to_install(tmp_path: Path) -> None:
    started = f"sys.argv = {['trackside', *SERVE]}; from app.cli import main; main()"
    code = f"import sys; sys.modules['psycopg'] = None; {started}"
    url = f"postgresql://me:{SECRET}@localhost/trackside"
    environment = {**os.environ, "TRACKSIDE_HOME": str(tmp_path), "TRACKSIDE_DATABASE_URL": url}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "the database's driver is not installed" in line
    assert "install trackside[postgres]" in line
    assert SECRET not in line
