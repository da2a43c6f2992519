"""Processor time and memory of a script with its children."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import wait_for
from trackside.sender.processes import ProcessTree, descendants

WORK = "data = bytes([1]) * 50_000_000\nwhile True: pass"
BUSY = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORK!r}])"


def test_children_are_counted() -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True)
    try:
        wait_for(lambda: len(descendants(process.pid)) == 2, what="the child")
        tree = ProcessTree(process.pid)
        found = wait_for(
            lambda: sample if (sample := tree.sample())["memory_mb"] > 60 and sample["cpu_percent"] > 5 else None, 30
        )
        assert found["cpu_percent"] < 150
        assert process.pid in descendants(os.getpid())
    finally:
        for pid in descendants(process.pid):
            os.kill(pid, 9)
        process.wait()
    assert tree.sample() == {}
    assert descendants(process.pid) == []
