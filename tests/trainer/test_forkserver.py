"""The fork server ends with its worker, whenever that is, and prints nothing about it."""

from __future__ import annotations

import select
import socket
import subprocess
import sys


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
