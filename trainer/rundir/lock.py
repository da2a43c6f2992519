"""The lock that a trainer holds on its directory while it runs: its holder is alive. Free of torch."""

from __future__ import annotations

import os
import time
from pathlib import Path

from trainer.rundir.folder import JobDir
from trainer.system.locks import lock_descriptor


class LockHeld(RuntimeError):
    """Another process holds the lock."""


def take_lock(run_dir: Path, wait_seconds: float = 0.0) -> int:
    """Hold the run's lock until this process exits, and return its descriptor, which is closed on exec.

    The trainer of an older attempt exits within about a second of noticing that it was superseded: wait up to
    `wait_seconds` for it. Raises LockHeld.
    """
    fd = hold_lock(run_dir, wait_seconds)
    # A forked child would share the lock and keep it after this process has exited.
    os.register_at_fork(after_in_child=lambda: os.close(fd))
    return fd


def hold_lock(run_dir: Path, wait_seconds: float = 0.0) -> int:
    """Hold the run's lock until the descriptor that is returned is closed, in a process that does not fork.

    Raises LockHeld.
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
    return fd


def lock_holder(run_dir: Path) -> int | None:
    """Return the pid that holds the run's lock on this host, 0 if it is unknown, or None if the lock is free."""
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
