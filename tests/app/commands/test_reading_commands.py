"""Commands that read leave the database as it is: a server of another version may be using it."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from typer.testing import CliRunner

from app.cli import main
from app.storage.db import Database
from app.storage.upgrade import alembic_config
from tests.databases import home_environment, settings_of

pytestmark = pytest.mark.sqlite_only("what is said of the database's file, and that it stays as it was")

READING = ["doctor", "predict latest images", "datasets list", "tokens list", "backup all.tar"]
OF_THE_DATABASE = READING[:2]


def made(home: Path, revision: str) -> Path:
    """A home whose database was written by an older (`0001`), this (`head`) or a newer version (any other)."""
    settings = settings_of(home)
    home.mkdir()
    database = Database(settings.url)
    database.engine.connect().close()  # sets SQLite's journal mode, which is kept in the file
    command.upgrade(alembic_config(database.url), revision if revision == "0001" else "head")
    if revision not in ("0001", "head"):
        with database.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    database.close()
    return home


def run(home: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.chdir(home.parent)
    ended = CliRunner().invoke(main, words.split(), env=home_environment(home))
    assert ended.exception is None or isinstance(ended.exception, SystemExit)
    return ended.exit_code, ended.output


@pytest.mark.parametrize("words", READING)
@pytest.mark.parametrize("revision", ["0001", "head", "9999"])
def test_the_database_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, revision: str
) -> None:
    home = made(tmp_path / "home", revision)
    before = (home / "trackside.db").read_bytes()
    status, said = run(home, words, monkeypatch)
    assert (home / "trackside.db").read_bytes() == before
    if words in OF_THE_DATABASE and revision != "head":
        assert status == 1
        assert (
            "older version" in said if revision == "0001" else "which this version of Trackside does not know" in said
        )


@pytest.mark.parametrize("words", READING)
def test_no_home_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    _, said = run(tmp_path / "home", words, monkeypatch)
    assert not (tmp_path / "home").exists()
    if words == "predict latest images":
        assert "`trackside serve` creates it" in said


@pytest.mark.parametrize("words", OF_THE_DATABASE)
def test_a_damaged_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "trackside.db").write_bytes(b"not a database, but longer than the header of one" * 100)
    status, said = run(home, words, monkeypatch)
    assert status == 1
    assert f"The database at {home}/trackside.db cannot be opened: " in said
