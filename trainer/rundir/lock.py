"""The lock that a trainer holds on its directory for its whole life: who holds it is alive. Free of torch."""

from __future__ import annotations

import os
import time
from pathlib import Path

from trainer.rundir.folder import JobDir
from trainer.system.locks import lock_descriptor


class LockHeld(RuntimeError):
    """Another trainer has this run."""


def take_lock(run_dir: Path, wait_seconds: float = 0.0) -> int:
    """Hold the run's lock until this process ends; the descriptor closes itself in any program that is executed.

    A trainer of an older attempt lets go within a second or so of seeing that it was superseded: `wait_seconds` is
    the time to give it. Raises LockHeld.
    """
    fd = os.open(JobDir(run_dir).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + wait_seconds
    while not lock_descriptor(fd, wait=False):
        if time.monotonic() >= deadline:
            os.close(fd)
            raise LockHeld(f"{run_dir} is being trained by another process")
        time.sleep(0.05)
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    # A forked child would share the lock and keep it alive after this process is gone.
    os.register_at_fork(after_in_child=lambda: os.close(fd))
    return fd


def lock_holder(run_dir: Path) -> int | None:
    """The pid that holds the run's lock on this host, or None if it is free."""
    try:
        fd = os.open(JobDir(run_dir).lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if lock_descriptor(fd, wait=False):
            return None
        text = os.pread(fd, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
