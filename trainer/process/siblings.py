"""The other ranks of a run, as processes: forked by rank 0, watched by it, and ended with it. On Linux.

A rank that raises an error leaves it in a file before it exits, and the run ends with that error. Where a rank was
killed, all ranks end, and rank 0 exits without an `end` event: the run is queued again as a whole. Ranks other than 0
ignore requests to stop: rank 0 decides, and tells them. The kernel kills them when rank 0 is gone.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from trainer.errors import TrainerError, explain
from trainer.process.assignment import Assignment
from trainer.process.ending import COMPILE_FAILED, ended_by, failed_to_compile
from trainer.rundir.events import EventWriter

if TYPE_CHECKING:
    from trainer.engine.ranks import Ranks

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
FAILED, LOST = 1, 4  # exit statuses of a rank with an error of its own, and of one that has lost another rank
NOTICE_SECONDS = 5.0  # in which rank 0 itself notices that a rank has ended, by an exchange that fails
FINISH_SECONDS = 20.0  # in which a rank ends that was told to
KILLED_STATUS = 128 + signal.SIGKILL


class RankFailed(TrainerError):
    """A rank other than the first has raised an error."""

    code = "rank_failed"

    def __init__(self, device: str, error: dict[str, Any]) -> None:
        super().__init__(f"On {device}: {error['message']}", error["detail"])
        self.code = error["code"]


@dataclass(frozen=True)
class Sibling:
    rank: int
    device: str
    pid: int
    pidfd: int
    link: socket.socket

    @property
    def has_exited(self) -> bool:
        return bool(select.select([self.pidfd], [], [], 0)[0])

    @property
    def was_killed(self) -> bool:
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None and found.si_code in (os.CLD_KILLED, os.CLD_DUMPED)


class Siblings:
    """The processes that train a run together with this one; none for a run on one device."""

    def __init__(self, assignment: Assignment, events: EventWriter) -> None:
        self._assignment = assignment
        self._events = events
        self._all: list[Sibling] = []
        self._folder: Path | None = None
        self._ending = threading.Event()  # rank 0 ends the others itself

    def start(self) -> None:
        """Fork the other ranks. No operation of torch may have run in this process, nor CUDA be initialized."""
        if not self._assignment.others:
            return
        if sys.platform != "linux":
            raise TrainerError("A run on several devices needs Linux.")
        self._folder = Path(tempfile.mkdtemp(prefix="trackside-ranks-"))
        for rank, device in enumerate(self._assignment.others, 1):
            ours, theirs = socket.socketpair()
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                _end_with(parent)
                for link in (ours, *(sibling.link for sibling in self._all)):
                    link.close()
                status = FAILED
                try:
                    status = self._follow(rank, device, theirs)
                finally:
                    os._exit(status)  # whatever happened: this process must not go on as rank 0
            theirs.close()
            self._all.append(Sibling(rank, device, pid, os.pidfd_open(pid), ours))
        threading.Thread(target=self._watch, name="siblings", daemon=True).start()

    def ranks(self) -> Ranks:
        """Return the ranks as rank 0 sees them, once all have met."""
        from trainer.engine.ranks import ALONE, Ranks

        if not self._all:
            return ALONE
        links, others = [sibling.link for sibling in self._all], tuple(sibling.device for sibling in self._all)
        ranks = Ranks(0, len(self._all) + 1, links, others)
        ranks.join(self._rendezvous(), self._assignment.device)
        return ranks

    def cause(self, error: Exception) -> Exception:
        """Return why the run fails if rank 0 has raised `error`: that of another rank, if it raised one.

        Does not return if a rank was killed: the process exits, as if it had been killed itself.
        """
        from trainer.engine.ranks import RankLost

        if not isinstance(error, RankLost):
            return error
        self._ending.set()
        return self._reported(error) or self._exit_without_end()

    def finish(self, *, failed: bool) -> None:
        """End the other ranks and wait for them: the devices' memory is free then.

        After rank 0 has `failed` they may wait for it in an operation, and are killed.
        """
        self._ending.set()
        for sibling in self._all:
            with suppress(OSError):
                sibling.link.sendall(b'{"do":"Finish"}\n')
        deadline = time.monotonic() + (0.0 if failed else FINISH_SECONDS)
        for sibling in self._all:
            if not select.select([sibling.pidfd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                log.info("rank %d is killed", sibling.rank)
        self._kill()

    def _follow(self, rank: int, device: str, link: socket.socket) -> int:
        """Be another rank, and return its exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        from trainer.engine.ranks import RankLost, Ranks
        from trainer.follower import follow

        try:
            ranks = Ranks(rank, len(self._assignment.others) + 1, [link])
            ranks.join(self._rendezvous(), device)
            follow(Path(self._assignment.run_dir), Path(self._assignment.datasets), device, self._events, ranks)
        except RankLost as error:
            log.warning("rank %d ends: %s", rank, error)
            return LOST
        except BaseException as error:
            log.exception("rank %d on %s failed", rank, device)
            self._report(rank).write_bytes(orjson.dumps(_explained(error)))
            return FAILED
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return 0

    def _watch(self) -> None:
        """End the run if a rank ends before it: an exchange with it may wait for ever, or not begin for long."""
        select.select([sibling.pidfd for sibling in self._all], [], [])
        if self._ending.wait(NOTICE_SECONDS):
            return
        self._ending.set()
        error = self._reported(None)
        if error is not None:
            with suppress(OSError):
                ended, _ = ended_by(error, self._assignment, self._events)
                self._events.emit("end", **ended)
                self._events.sync()
        self._exit_without_end()

    def _reported(self, failure: Exception | None) -> Exception | None:
        """Return the error that another rank has left; None if one was killed.

        `failure` of an exchange is returned if all are alive, or have ended because of it.
        """
        deadline = time.monotonic() + NOTICE_SECONDS
        exited: list[Sibling] = []
        while time.monotonic() < deadline and len(exited) < len(self._all):
            exited = [sibling for sibling in self._all if sibling.has_exited]
            for sibling in exited:
                if (report := self._report(sibling.rank)).exists():
                    return RankFailed(sibling.device, orjson.loads(report.read_bytes()))
            time.sleep(0.02)
        return None if any(sibling.was_killed for sibling in exited) else failure

    def _exit_without_end(self) -> Exception:
        log.error("another rank of this run was killed: all of them end")
        self._kill()
        sys.stderr.flush()
        os._exit(KILLED_STATUS)

    def _kill(self) -> None:
        for sibling in self._all:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(sibling.pidfd, signal.SIGKILL)
        for sibling in self._all:
            with suppress(ChildProcessError):
                os.waitpid(sibling.pid, 0)
            os.close(sibling.pidfd)
            sibling.link.close()
        self._all.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _rendezvous(self) -> Any:
        from trainer.engine.ranks import Rendezvous

        assert self._folder is not None
        return Rendezvous(str(self._folder / "store"))

    def _report(self, rank: int) -> Path:
        assert self._folder is not None
        return self._folder / f"error-{rank}.json"


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it, rank 0's main one, is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it was gone before the request
        os._exit(LOST)


def _explained(error: BaseException) -> dict[str, Any]:
    if failed_to_compile(error):
        return {"code": COMPILE_FAILED, "message": str(error), "detail": None}
    if isinstance(error, Exception):
        return explain(error)
    return {
        "code": "trainer_error",
        "message": repr(error),
        "detail": "".join(traceback.format_exception(error))[-4000:],
    }
