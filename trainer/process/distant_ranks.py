"""The other ranks of a run on seats of their own, of this machine or others: rank 0 waits until all have connected.

Their home has each of them begin once it has read the file `meeting` of rank 0's run directory.
"""

from __future__ import annotations

import logging
import secrets
import select
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer.process.assignment import Assignment
from trainer.process.meeting import Meeting, interface_of, listen, proven
from trainer.process.other_ranks import OtherRank, OtherRanks
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

if TYPE_CHECKING:
    from trainer.engine.ranks import Ranks

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2  # between two looks at whether the run is to stop


class StoppedBefore(Exception):
    """The run is to stop, and not all ranks have met."""


class DistantRanks(OtherRanks):
    """`should_stop` also has a run end that waits; `stop` is called when a machine is about to leave."""

    def __init__(
        self,
        assignment: Assignment,
        events: EventWriter,
        should_stop: Callable[[], bool],
        stop: Callable[[], None],
    ) -> None:
        super().__init__(assignment, events)
        assert assignment.listen is not None
        self._address = assignment.listen
        self._should_stop, self._stop = should_stop, stop
        self._file = RunDir(assignment.folder).meeting
        self._have_met = False
        self._waiting: list[socket.socket] = []

    def start(self) -> None:
        self._socket, self._store = listen(self._address), listen(self._address)
        self._waiting = [self._socket, self._store]
        self._store_port = self._store.getsockname()[1]
        self._secret = secrets.token_hex(32)
        meeting = Meeting(self._address, self._socket.getsockname()[1], self._store_port, self._secret)
        write_durably(self._file, meeting.as_bytes(), mode=0o600)

    def ranks(self) -> Ranks:
        """Raises StoppedBefore as well."""
        from trainer.engine.ranks import NetworkRendezvous, Ranks

        self._meet()
        links, size = [other.link for other in self._all], len(self._all) + 1
        ranks = Ranks(0, size, links, self._assignment.others, sharing=self._assignment.sharing)
        interface = interface_of(self._address)
        ranks.join(
            NetworkRendezvous(self._address, self._store_port, interface, self._store.detach()), self._assignment.device
        )
        return ranks

    def finish(self, *, failed: bool) -> None:
        """Ranks that have not met do not hear what they are told: their links end."""
        super().finish(failed=failed or not self._have_met)

    def _meet(self) -> None:
        """Wait until all ranks have connected. Raises StoppedBefore, and RankLost: one has ended meanwhile."""
        from trainer.engine.ranks import RankLost

        while len(self._all) < len(self._assignment.others):
            if self._should_stop():
                raise StoppedBefore
            there = list(self._all)
            ready, _, _ = select.select([self._socket, *(other.link for other in there)], [], [], LOOK_SECONDS)
            if self._socket in ready:
                threading.Thread(target=self._admit, args=(self._socket.accept()[0],), daemon=True).start()
            for other in there:
                if other.link in ready:
                    other.receive()
                    self._heard()
                    if other.has_ended:
                        raise RankLost(f"rank {other.rank} has ended")
        self._socket.close()
        self._file.unlink(missing_ok=True)
        self._have_met = True
        self._all.sort(key=lambda other: other.rank)
        self._look_after()

    def _admit(self, link: socket.socket) -> None:
        rank, others = proven(link, self._secret), self._assignment.others
        with self._changed:
            known = {other.rank for other in self._all}
            if rank is None or rank in known or not 0 < rank <= len(others):
                log.warning("a connection was refused")
                link.close()
                return
            self._all.append(OtherRank(rank, others[rank - 1], link))

    def _heard(self) -> None:
        if any("leaves" in other.said for other in self._all):
            self._stop()

    def _of_exchange(self, error: Exception) -> None:
        """That of a network is no error of the run."""
        log.warning("%s", error)

    def _end_all(self) -> None:
        self._file.unlink(missing_ok=True)
        super()._end_all()
        for each in self._waiting:
            each.close()
        if not self._have_met:  # nobody reads them
            for other in self._all:
                other.link.close()
