"""Locks on open descriptors: of a file, of a folder, and until the last copy of the descriptor is closed."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trainer.rundir.lock import LockHeld, lock_holder, take_lock
from trainer.system.locks import lock_descriptor


@pytest.fixture(params=["file", "folder"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "locked"
    path.mkdir() if request.param == "folder" else path.touch()
    return path


def test_one_holds_it_until_the_last_copy_is_closed(path: Path) -> None:
    one, other = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    copy = os.dup(one)
    assert lock_descriptor(one, wait=False)
    assert lock_descriptor(one, wait=False), "it is held already"
    assert not lock_descriptor(other, wait=False)
    os.close(one)
    assert not lock_descriptor(other, wait=False)
    os.close(copy)
    assert lock_descriptor(other, wait=False)
    os.close(other)


def test_who_waits_gets_it_and_nobody_else_meanwhile(path: Path) -> None:
    inside, most = 0, 0

    def visit(_: int) -> None:
        nonlocal inside, most
        fd = os.open(path, os.O_RDONLY)
        assert lock_descriptor(fd, wait=True)
        inside += 1
        most = max(most, inside)
        os.fsync(fd)  # lets the others run
        inside -= 1
        os.close(fd)

    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(visit, range(40)))) == 40
    assert (inside, most) == (0, 1)


def test_a_run_is_held_by_one_process_and_free_once_that_is_gone(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None
    script = f"""
import sys
from pathlib import Path
from trainer.rundir.lock import take_lock
take_lock(Path({str(tmp_path)!r}))
print("held", flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        assert lock_holder(tmp_path) == holder.pid
        for seconds in (0.0, 0.1):
            with pytest.raises(LockHeld, match="another process"):
                take_lock(tmp_path, seconds)
        holder.kill()
        holder.wait()
        assert lock_holder(tmp_path) is None
