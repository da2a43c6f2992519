"""A trainer on this machine, known by its pid and its directory: signal it, and see whether it has exited."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from signal import Signals

import psutil

from trainer.rundir.folder import JobDir
from trainer.rundir.lock import lock_holder

START_SECONDS = 60.0  # a forked trainer that has not taken the lock by then is treated as exited

# The module named in a trainer's command line. The second is its name up to version 0.1.0: a trainer outlives an
# upgrade, and must still be stopped and reaped.
FORK_SERVERS = frozenset({"trainer.process.forkserver", "trainer.forkserver"})


class TrainerHandle:
    """`pid`: None if no trainer could be forked. `since`: the monotonic time at which it was started or found."""

    def __init__(self, folder: Path, pid: int | None, since: float) -> None:
        self.folder = folder
        self.pid = pid
        self._since = since
        self._lock_seen = False

    def signal(self, number: Signals) -> None:
        """Signal the process that holds the directory's lock, else the forked one if it is still this job's trainer."""
        pid = lock_holder(self.folder) or self.pid
        if pid and is_trainer(pid, self.folder):
            _send(pid, number)

    def has_exited(self, now: float, *, left: bool = False) -> bool:
        """Whether the lock is free and no process can still take it. `left`: do not wait for the lock's holder."""
        holder = lock_holder(self.folder)
        if holder is not None and not left:
            self._lock_seen = self._lock_seen or holder == self.pid
            if not self._lock_seen and self.pid and not is_trainer(self.pid, self.folder):
                # A trainer of an older attempt holds the lock and does not release it; ours gave up waiting for it.
                _send(holder, Signals.SIGKILL)
            return False
        starting = not self._lock_seen and now - self._since < START_SECONDS
        return not (starting and self.pid and is_trainer(self.pid, self.folder))


def is_trainer(pid: int, folder: Path) -> bool:
    """Whether the process `pid` is the trainer of `folder` and still runs. The system may have reused the pid."""
    try:
        trains = not FORK_SERVERS.isdisjoint(psutil.Process(pid).cmdline())  # a zombie's is empty
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    return trains and not _is_of_another_job(pid, JobDir(folder).output)


def _is_of_another_job(pid: int, output: Path) -> bool:
    """Whether the trainer's standard output is the file of another job; a fresh fork still has its parent's output."""
    try:
        target = Path(str(Path(f"/proc/{pid}/fd/1").readlink()).removesuffix(" (deleted)"))
    except OSError:
        return False
    return target.name == output.name and target != output.resolve()


def _send(pid: int, number: Signals) -> None:
    if pid <= 0:
        return  # the holder of the lock is unknown; 0 would signal this process's own group
    with suppress(ProcessLookupError):  # it exited just now
        os.kill(pid, number)
