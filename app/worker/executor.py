"""Starts trainers on this host through a fork server, signals them, and checks whether they are alive."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from signal import Signals

import psutil

from trainer.process.assignment import Assignment, TaskAssignment
from trainer.process.forkclient import ForkServer
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import JobDir
from trainer.rundir.lock import lock_holder

log = logging.getLogger(__name__)

# The module named in a trainer's command line. The second is its name up to version 0.1.0: a trainer outlives an
# upgrade, and must still be stopped and reaped.
FORK_SERVERS = frozenset({"trainer.process.forkserver", "trainer.forkserver"})


class Executor:
    """The trainers of one worker. A trainer outlives its executor."""

    def __init__(self) -> None:
        self._forkserver: ForkServer | None = None

    def prepare(self) -> None:
        """Start the fork server, which loads torch while the worker looks for work."""
        self._forkserver = ForkServer()

    def start(self, assignment: Assignment | TaskAssignment) -> int | None:
        """Fork a trainer and return its pid; None if the fork server failed twice in a row."""
        # The empty file stops any trainer of an older attempt before the new one exists.
        EventWriter(Path(assignment.run_dir), assignment.attempt).close()
        for _ in range(2):
            if self._forkserver is None:
                self.prepare()
            assert self._forkserver is not None
            try:
                return self._forkserver.start(assignment)
            except ConnectionError:
                log.warning("the fork server is gone: starting another")
                self._forkserver = None
        return None

    def holder(self, folder: Path) -> int | None:
        """The pid of the trainer that holds the lock of `folder`; None if it is free."""
        return lock_holder(folder)

    def is_alive(self, pid: int, folder: Path) -> bool:
        """Whether the process `pid` is the trainer of `folder` and still runs. The system may have reused the pid."""
        try:
            trains = not FORK_SERVERS.isdisjoint(psutil.Process(pid).cmdline())  # a zombie's is empty
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return False
        return trains and not _is_of_another_job(pid, JobDir(folder).output)

    def signal(self, pid: int | None, folder: Path, number: Signals) -> None:
        """Signal the process if it is the trainer of `folder` and still alive."""
        if pid and self.is_alive(pid, folder):
            _send(pid, number)

    def kill(self, pid: int) -> None:
        _send(pid, Signals.SIGKILL)

    def close(self) -> None:
        if self._forkserver is not None:
            self._forkserver.close()


def _is_of_another_job(pid: int, output: Path) -> bool:
    """Whether the trainer's standard output is the file of another job; a fresh fork still has its parent's output."""
    try:
        target = Path(str(Path(f"/proc/{pid}/fd/1").readlink()).removesuffix(" (deleted)"))
    except OSError:
        return False
    return target.name == output.name and target != output.resolve()


def _send(pid: int, number: Signals) -> None:
    if pid <= 0:
        return  # the holder of the lock is unknown; 0 would signal the worker's own process group
    with suppress(ProcessLookupError):  # it exited just now
        os.kill(pid, number)
