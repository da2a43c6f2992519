"""The other ranks of a run, as rank 0 sees them: it has a link to each, which ends when that rank's process does.

A rank that raises an error sends it over its link before it exits, and the run ends with that error. Where a rank was
killed, or its machine is gone, all ranks end, and rank 0 exits without an `end` event: the run is queued again as a
whole.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from trainer.errors import TrainerError
from trainer.process.assignment import Assignment
from trainer.process.ending import ended_by
from trainer.rundir.events import EventWriter

if TYPE_CHECKING:
    from trainer.engine.ranks import Ranks

log = logging.getLogger(__name__)

NOTICE_SECONDS = 5.0  # in which rank 0 itself notices that a rank has ended, by an exchange that fails
FINISH_SECONDS = 20.0  # in which a rank ends that was told to
KILLED_STATUS = 128 + signal.SIGKILL


class RankFailed(TrainerError):
    """A rank other than the first has raised an error."""

    code = "rank_failed"

    def __init__(self, device: str, error: dict[str, Any]) -> None:
        super().__init__(f"On {device}: {error['message']}", error["detail"])
        self.code = error["code"]


def check_system() -> None:
    """Raises TrainerError."""
    if sys.platform != "linux":
        raise TrainerError("A run on several devices needs Linux.")


@dataclass(eq=False)
class OtherRank:
    """`said` is what it has sent: see trainer/process/following.py."""

    rank: int
    device: str
    link: socket.socket
    has_ended: bool = False
    said: dict[str, Any] = field(default_factory=dict)
    _unread: bytes = b""

    def receive(self) -> None:
        """Read what there is, or notice the end."""
        try:
            data = self.link.recv(1 << 16)
        except OSError:
            data = b""
        self.has_ended = not data
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self.said |= orjson.loads(line)

    @property
    def was_killed(self) -> bool:
        """Whether it is gone without a word."""
        return self.has_ended and not self.said.keys() & {"error", "lost"}


class OtherRanks:
    """None for a run on one device. The kinds of it differ in how the ranks begin and end."""

    def __init__(self, assignment: Assignment, events: EventWriter) -> None:
        self._assignment = assignment
        self._events = events
        self._all: list[OtherRank] = []
        self._changed = threading.Condition()
        self._ending = threading.Event()  # rank 0 ends the others itself

    def start(self) -> None:
        """Begin. No operation of torch may have run in this process, nor CUDA be initialized."""

    def ranks(self) -> Ranks:
        """Return the ranks as rank 0 sees them, once all have met."""
        from trainer.engine.ranks import ALONE

        return ALONE

    def cause(self, error: Exception) -> Exception:
        """Return why the run fails if rank 0 has raised `error`: that of another rank, if it raised one.

        Does not return if a rank was killed: the process exits, as if it had been killed itself.
        """
        from trainer.engine.ranks import RankLost

        if not isinstance(error, RankLost):
            return error
        self._ending.set()
        return self._reported(self._of_exchange(error)) or self._exit_without_end()

    def finish(self, *, failed: bool) -> None:
        """End the other ranks and wait for them: the devices' memory is free then.

        After rank 0 has `failed` they may wait for it in an operation, and are killed.
        """
        self._ending.set()
        for other in self._all:
            with suppress(OSError):
                other.link.sendall(b'{"do":"Finish"}\n')
        with self._changed:
            self._changed.wait_for(lambda: all(other.has_ended for other in self._all), 0 if failed else FINISH_SECONDS)
            for other in self._all:
                if not other.has_ended:
                    log.info("rank %d is killed", other.rank)
        self._end_all()

    def _of_exchange(self, error: Exception) -> Exception | None:
        """The error with which the run fails where an exchange has failed, but all ranks are alive."""
        return error

    def _look_after(self) -> None:
        """Follow what the other ranks say, and end the run if one of them ends before it."""
        threading.Thread(target=self._listen, name="other ranks", daemon=True).start()
        threading.Thread(target=self._watch, name="end of other ranks", daemon=True).start()

    def _listen(self) -> None:
        while links := {other.link: other for other in self._all if not other.has_ended}:
            ready, _, _ = select.select(list(links), [], [])
            with self._changed:
                for link in ready:
                    links[link].receive()
                self._changed.notify_all()
            self._heard()

    def _heard(self) -> None:
        """Another rank has said something, or has ended."""

    def _watch(self) -> None:
        """End the run if a rank ends before it: an exchange with it may wait for ever, or not begin for long."""
        with self._changed:
            self._changed.wait_for(lambda: any(other.has_ended for other in self._all))
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
        """Return the error that another rank has sent; None if one was killed.

        `failure` of an exchange is returned if all are alive, or have ended because of it.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    all(other.has_ended for other in self._all) or any("error" in other.said for other in self._all)
                ),
                NOTICE_SECONDS,
            )
            for other in self._all:
                if "error" in other.said:
                    return RankFailed(other.device, other.said["error"])
            return None if any(other.was_killed for other in self._all) else failure

    def _is_explained(self) -> bool:
        return all(other.has_ended for other in self._all) or any("error" in other.said for other in self._all)

    def _exit_without_end(self) -> Exception:
        log.error("another rank of this run was killed, or cannot be reached: all of them end")
        self._end_all()
        sys.stderr.flush()
        os._exit(KILLED_STATUS)

    def _end_all(self) -> None:
        """Kill those that have not ended, and wait for them as far as they are on this machine."""
        for other in self._all:
            with suppress(OSError):
                other.link.shutdown(socket.SHUT_RDWR)
