"""A backup taken during training and restored elsewhere has the finished run, and the other run resumes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import NARROW, Server, wait_for
from tests.crash.series import assert_whole, values
from trainer.rundir.checkpoints import list_checkpoints

OVERRIDES = {**NARROW, "checks": "off"}


def trackside(server: Server, *words: str) -> str:
    command = [sys.executable, "-m", "app.cli", *words]
    environment = {**os.environ, **server.environment()}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.timeout(180)
def test_a_backup_of_a_home_at_work_is_restored_elsewhere(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server()
    server.start("web", "worker")
    ended = server.wait_status(server.launch(overrides={**OVERRIDES, "epochs": 1}), "finished")
    training = server.launch(overrides={**OVERRIDES, "epochs": 6, "log_every": 1})
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
