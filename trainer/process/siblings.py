"""The other ranks of a run on this machine: forked by rank 0, watched by it, and ended with it. On Linux.

Ranks other than 0 ignore requests to stop: rank 0 decides, and tells them. The kernel kills them when rank 0 is gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.process.assignment import Assignment
from trainer.process.following import FAILED, LOST, take_part
from trainer.process.other_ranks import OtherRank, OtherRanks, check_system
from trainer.rundir.events import EventWriter

if TYPE_CHECKING:
    from trainer.engine.ranks import FileRendezvous, Ranks

PR_SET_PDEATHSIG = 1


class Siblings(OtherRanks):
    def __init__(self, assignment: Assignment, events: EventWriter) -> None:
        super().__init__(assignment, events)
        self._processes: dict[int, int] = {}  # their pidfds, by pid
        self._store = -1

    def start(self) -> None:
        check_system()
        self._store = os.memfd_create("ranks")
        for rank, device in enumerate(self._assignment.others, 1):
            ours, theirs = socket.socketpair()
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                _end_with(parent)
                for link in (ours, *(other.link for other in self._all)):
                    link.close()
                status = FAILED
                try:
                    status = self._follow(rank, device, theirs)
                finally:
                    os._exit(status)  # whatever happened: this process must not go on as rank 0
            theirs.close()
            self._processes[pid] = os.pidfd_open(pid)
            self._all.append(OtherRank(rank, device, ours))
        self._look_after()

    def ranks(self) -> Ranks:
        from trainer.engine.ranks import Ranks

        links, size = [other.link for other in self._all], len(self._all) + 1
        ranks = Ranks(0, size, links, self._assignment.others, sharing=size)
        ranks.join(self._rendezvous(), self._assignment.device)
        return ranks

    def _follow(self, rank: int, device: str, link: socket.socket) -> int:
        """Be another rank, and return its exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        from trainer.engine.ranks import Ranks

        size = len(self._assignment.others) + 1
        ranks = Ranks(rank, size, [link], sharing=size)
        folder, datasets = Path(self._assignment.run_dir), Path(self._assignment.datasets)
        return take_part(folder, datasets, device, self._events, ranks, self._rendezvous())

    def _rendezvous(self) -> FileRendezvous:
        from trainer.engine.ranks import FileRendezvous

        # A file without a name: nothing is left of it, however the processes end.
        return FileRendezvous(f"/proc/self/fd/{self._store}")

    def _end_all(self) -> None:
        for pidfd in self._processes.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pid, pidfd in self._processes.items():
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
            os.close(pidfd)
        self._processes.clear()
        super()._end_all()


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it, rank 0's main one, is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it was gone before the request
        os._exit(LOST)
