"""The processes of Ray on a node, whose starter has exited: each part is a real process, in the place of Ray's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nodes run Linux")

# Starts a process in the background, as `ray start` does, and exits with the status that it is given.
START = "sleep 600 & echo $! > {pid}; echo what it says; exit {status}"
WATCH = """
import pathlib, select, sys, time
from app.cluster.raylet import Raylet, adopt_orphans
adopt_orphans()
raylet = Raylet(["sh", "-c", sys.argv[1]], pathlib.Path(sys.argv[2]))
while raylet.is_alive():
    time.sleep(0.02)
    if sys.stdin in select.select([sys.stdin], [], [], 0)[0]:
        raylet.end()
        break
else:
    print(raylet.refusal)
"""


def watching(folder: Path, status: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", WATCH, START.format(pid=folder / "pid", status=status), str(folder / "output")]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def started(path: Path) -> psutil.Process:
    wait_for(lambda: path.exists() and path.read_text().strip(), 20, "the process")
    return psutil.Process(int(path.read_text()))


def test_a_process_that_its_starter_has_left_is_watched(tmp_path: Path) -> None:
    with watching(tmp_path, 0) as process:
        raylet = started(tmp_path / "pid")
        wait_for(lambda: raylet.ppid() == process.pid, 20, "its adoption")
        assert process.poll() is None
        raylet.kill()
        assert process.wait(20) == 0


def test_a_process_that_its_starter_has_left_is_ended(tmp_path: Path) -> None:
    with watching(tmp_path, 0) as process:
        raylet = started(tmp_path / "pid")
        wait_for(lambda: raylet.ppid() == process.pid, 20, "its adoption")
        assert process.communicate(timeout=30)[0] == b""
        assert not raylet.is_running()


def test_nothing_stays_of_a_start_that_failed(tmp_path: Path) -> None:
    with watching(tmp_path, 1) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"what it says\n"  # its input stays open: its end would end the raylet
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_what_a_killed_join_has_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "raylet" / "raylet"
    program.parent.mkdir()
    shutil.copy(shutil.which("sleep") or "", program)
    mine, other = (
        subprocess.Popen([program, "600"], env={**os.environ, "OF": owner}) for owner in ("this-node", "another")
    )
    trainer = subprocess.Popen(["sleep", "600"], env={**os.environ, "OF": "this-node"})
    try:
        script = "from app.cluster.raylet import end_left_over; end_left_over('OF', 'this-node')"
        ending = subprocess.Popen([sys.executable, "-c", script])
        assert mine.wait(20) < 0
        assert ending.wait(20) == 0
        assert (other.poll(), trainer.poll()) == (None, None)
    finally:
        for process in (mine, other, trainer):
            process.kill()
            process.wait()
