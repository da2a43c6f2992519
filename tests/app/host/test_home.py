"""Who may read the home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from app.host.home import OTHERS
from tests.conftest import NARROW, Server
from tests.databases import ON_POSTGRES, home_environment

PASSWORD = "a password of the test\n"
ITS_FILE = pytest.mark.sqlite_only("the permissions of the database's file")


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def trackside(home: Path, *arguments: str, typed: str = "") -> tuple[int, str]:
    ended = CliRunner().invoke(main, arguments, input=typed, env=home_environment(home))
    return ended.exit_code, ended.output


def shown(home: Path) -> list[str]:
    """The paths in the home, and the home, that others have a permission for."""
    paths = [home, *home.rglob("*")]
    return [str(path) for path in paths if not path.is_symlink() and path.stat().st_mode & OTHERS]


@ITS_FILE
def test_a_new_home_is_private(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    assert trackside(home, "reindex")[0] == 0
    assert {"serve.lock", "trackside.db"} <= {path.name for path in home.iterdir()}
    assert shown(home) == []
    assert tmp_path.joinpath("deep").stat().st_mode & 0o777 == 0o755


@ITS_FILE
def test_a_home_becomes_private_with_its_password(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, home / "runs" / "0123456789", elsewhere):
        folder.mkdir(parents=True)
        (folder / "file").write_text("kept")
    (home / "datasets").symlink_to(elsewhere)
    assert trackside(home, "reindex")[0] == 0
    assert str(home / "trackside.db") in shown(home)
    status, said = trackside(home, "doctor")
    assert f"others may read {home}" in said
    assert status == 0
    assert trackside(home, "password", typed=PASSWORD)[0] == 0
    assert shown(home) == []
    assert str(elsewhere / "file") in shown(elsewhere)
    assert trackside(home, "doctor") == (0, trackside(home, "doctor")[1])

    (home / "trackside.db").chmod(0o644)
    home.chmod(0o755)
    status, said = trackside(home, "doctor")
    assert status == 1
    assert f"chmod -R go= {home}" in said
    assert trackside(home, "reindex")[0] == 0  # as `serve` at its start
    assert shown(home) == []


@ITS_FILE
def test_a_group_keeps_a_home_without_password(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o750)
    assert trackside(home, "reindex")[0] == 0
    assert home.stat().st_mode & 0o777 == 0o750
    assert (home / "trackside.db").stat().st_mode & 0o777 == 0o644


@ITS_FILE
def test_a_database_elsewhere_is_private_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKSIDE_DATABASE_URL", f"sqlite:///{tmp_path}/elsewhere.db")
    home = tmp_path / "home"
    home.mkdir()
    assert trackside(home, "reindex")[0] == 0
    assert (tmp_path / "elsewhere.db").stat().st_mode & OTHERS
    assert trackside(home, "password", typed=PASSWORD)[0] == 0
    assert not (tmp_path / "elsewhere.db").stat().st_mode & OTHERS


@pytest.mark.timeout(240)
def test_what_the_web_process_the_worker_and_the_trainer_write_is_private(server: Server) -> None:
    server.home.chmod(0o700)
    if not ON_POSTGRES:
        (server.home / "trackside.db").chmod(0o600)
    server.start("web", "worker", "predictor")
    run_id = server.launch(overrides={**NARROW, "epochs": 1, "max_steps": 5})
    server.wait_status(run_id, "finished", seconds=200)
    written = [path for path in (server.settings.runs / run_id).rglob("*") if path.is_file()]
    assert {"spec.json", "output.log", "1.jsonl"} <= {path.name for path in written}
    assert any(path.suffix == ".safetensors" for path in written)
    assert shown(server.home) == []
