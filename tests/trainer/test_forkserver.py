"""The fork server ends with its worker, whenever that is, and prints nothing about it."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.process.forkclient import ForkServer


def start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "trainer.process.forkserver", str(theirs.fileno())]
        return ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)


def test_it_ends_without_a_traceback_where_no_run_was_started() -> None:
    early, loading = start()
    early.close()
    late, ready = start()
    with late:
        assert select.select([late], [], [], 120)[0]  # its answer has arrived, and stays unread
    for process in (loading, ready):
        _, printed = process.communicate(timeout=120)
        assert (process.returncode, printed) == (0, b"")


def test_its_worker_does_not_wait_until_it_has_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("import signal; signal.pause()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ForkServer().close()
