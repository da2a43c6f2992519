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
from contextlib import suppress
from typing import TYPE_CHECKING

from trainer.process.assignment import Assignment
from trainer.process.meeting import LINK, STORE, Meeting, interface_of, listen, proven
from trainer.process.other_ranks import OtherRank, OtherRanks, check_system
from trainer.process.tunnel import LOOPBACK, join
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
        check_system()
        self._socket, self._store = listen(self._address), listen(LOOPBACK)
        self._store_at = self._store.getsockname()
        self._waiting = [self._socket, self._store]
        self._secret = secrets.token_hex(32)
        threading.Thread(target=self._accept, name="connections of other ranks", daemon=True).start()
        meeting = Meeting(self._address, self._socket.getsockname()[1], self._secret)
        write_durably(self._file, meeting.as_bytes(), mode=0o600)

    def ranks(self) -> Ranks:
        """Raises StoppedBefore as well."""
        from trainer.engine.ranks import NetworkRendezvous, Ranks

        self._meet()
        links, size = [other.link for other in self._all], len(self._all) + 1
        ranks = Ranks(0, size, links, self._assignment.others, sharing=self._assignment.sharing)
        store, interface = self._store.detach(), interface_of(self._address)
        ranks.join(NetworkRendezvous(LOOPBACK, self._store_at[1], interface, store), self._assignment.device)
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
            with self._changed:
                self._changed.wait(LOOK_SECONDS)
                there = {other.link: other for other in self._all}
            for link in select.select(list(there), [], [], 0)[0]:
                there[link].receive()
                self._heard()
                if there[link].has_ended:
                    raise RankLost(f"rank {there[link].rank} has ended")
        self._file.unlink(missing_ok=True)
        self._have_met = True
        self._all.sort(key=lambda other: other.rank)
        self._look_after()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                link, _ = self._socket.accept()
                threading.Thread(target=self._admit, args=(link,), name="connection", daemon=True).start()

    def _admit(self, link: socket.socket) -> None:
        rank, use = proven(link, self._secret) or (0, LINK)
        if 0 < rank <= len(self._assignment.others):
            if use == STORE:
                join(link, socket.create_connection(self._store_at))
                return
            with self._changed:
                if rank not in {other.rank for other in self._all}:
                    self._all.append(OtherRank(rank, self._assignment.others[rank - 1], link))
                    self._changed.notify_all()
                    return
        log.warning("a connection was refused")
        link.close()

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
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # who waits for a connection there waits no longer
            each.close()
        if not self._have_met:  # nobody reads them
            for other in self._all:
                other.link.close()
