"""A backup taken during training and restored elsewhere has the finished run, and the other run resumes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.commands.backup import back_up
from tests.conftest import FIXED, NARROW, Server, wait_for
from tests.crash.series import assert_whole, values
from tests.databases import settings_of
from trainer.rundir.checkpoints import list_checkpoints


def trackside(server: Server, *words: str) -> str:
    command = [sys.executable, "-m", "app.cli", *words]
    environment = {**os.environ, **server.environment()}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.timeout(180)
def test_a_backup_of_a_home_at_work_is_restored_elsewhere(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server()
    server.start("web", "worker")
    ended = server.wait_status(server.launch(overrides={**NARROW, "epochs": 1}), "finished")
    training = server.launch(overrides={**NARROW, **FIXED, "epochs": 5, "log_every": 1})
    folder = server.settings.runs / training
    wait_for(lambda: list_checkpoints(folder), 60, "a checkpoint")
    file = tmp_path / "trackside.tar"
    assert "files" in trackside(server, "backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert server.run(training)["status"] == "running"

    elsewhere = make_server("elsewhere")
    for path in elsewhere.home.iterdir():
        path.unlink()
    trackside(elsewhere, "restore", str(file))
    elsewhere.start("web", "worker")
    assert values(elsewhere.series(ended["id"])) == values(server.series(ended["id"]))
    again = elsewhere.wait_status(training, "finished")
    here = server.wait_status(training, "finished")
    assert (again["attempt"], here["attempt"]) == (2, 1)
    assert_whole(elsewhere.series(training), here["total_steps"])
    assert values(elsewhere.series(training)) == values(server.series(training))


def test_a_backup_that_fails_takes_no_room(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    settings.access.mkdir(parents=True)
    (settings.access / "password.json").write_bytes(bytes(100_000))
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / ".trackside.tar.tmp").write_bytes(b"left by one that was killed")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            back_up(settings, folder / "trackside.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        back_up(settings, folder / "missing" / "trackside.tar")
    assert back_up(settings, folder / "trackside.tar") == 1
    with pytest.raises(FileExistsError):
        back_up(settings, folder / "trackside.tar")
    assert [path.name for path in folder.iterdir()] == ["trackside.tar"]
    assert (folder / "trackside.tar").stat().st_mode & 0o777 == 0o600
