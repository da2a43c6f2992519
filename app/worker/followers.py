"""The ranks of a run other than the first, each on a seat of its own: begun once rank 0 waits, and looked after."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from app.worker.gang import Gang
from app.worker.patient_seat import PatientSeat
from app.worker.seat_calls import Unreachable
from app.worker.shipment import collect_part
from trainer.errors import TrainerError
from trainer.node.calls import Beginning, Have, Refused
from trainer.process.meeting import NO_CONNECTION

WAIT_SECONDS = 0.5  # in which a seat answers, also without news
MEETING_SECONDS = 5.0  # after which rank 0 has noticed the end of a rank that it had met
TAIL_BYTES = 2000
ALL_EVENTS = 1 << 40  # those of a rank other than the first are not wanted

log = logging.getLogger(__name__)


class NotMet(TrainerError):
    """A rank could not connect to rank 0."""

    code = "ranks_not_met"


class DiedBefore(Exception):
    """A rank has ended before it has met rank 0, which would wait for it for ever."""


class Follower:
    """One of them. `begins`: its attempt is to be started; otherwise it may run already."""

    def __init__(
        self, rank: int, gang: Gang, run_dir: Path, datasets: Path, *, attempt: int, claim: int, begins: bool,
        patience_seconds: float, orphan_seconds: float,
    ) -> None:  # fmt: skip
        self.place = gang.places[rank]
        self.failure: Exception | None = None
        self.exited_at: float | None = None
        self.tail = b""
        self.meeting = b""
        self._rank, self._gang, self._run_dir, self._datasets = rank, gang, run_dir, datasets
        self._attempt, self._claim, self._orphan_seconds = attempt, claim, orphan_seconds
        self._is_there = not begins
        self._ends = False
        self._read = 0
        self._released = threading.Event()
        self._seat = PatientSeat(self.place.seat, self._released, patience_seconds)
        self._thread = threading.Thread(target=self._work, name=f"{run_dir.name} on {self.place.device}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def answers(self) -> bool:
        """Ask the seat once whether it is there."""
        try:
            self.place.seat.missing([])
        except Unreachable:
            return False
        return True

    def release(self, *, ends: bool) -> None:
        self._ends = ends
        self._released.set()

    def _work(self) -> None:
        try:
            if not self._is_there:
                self._ship(b"{}")  # while rank 0 starts
            while not self._released.is_set():
                if self._is_there:
                    self._look()
                elif self.meeting:
                    self._begin(self.meeting)
                else:
                    self._released.wait(0.02)
        except Exception as error:  # noqa: BLE001 - the mirror raises it
            self.failure = error
        self._released.wait()
        if self._ends:
            self._seat.once(lambda seat: seat.end(self._run_dir.name, self._claim, self._attempt))

    def _begin(self, meeting: bytes) -> None:
        beginning = self._ship(meeting)
        self._seat.call(lambda seat: seat.begin(beginning))
        self._is_there = True

    def _ship(self, meeting: bytes) -> Beginning:
        address = self._seat.call(lambda _: self._gang.address_of(self._rank))
        part = self._gang.part(self._rank, address, meeting)
        shipment = collect_part(self._run_dir, self._datasets, self._attempt, self._claim, self._orphan_seconds, part)
        with self.place.shipping:
            self._seat.ship(shipment.sources)
        return shipment.beginning

    def _look(self) -> None:
        have = Have(events=ALL_EVENTS, output=self._read)
        run = self._run_dir.name
        try:
            pulled = self._seat.call(lambda seat: seat.pull(run, self._claim, self._attempt, have, WAIT_SECONDS))
        except Refused:
            # The worker before this one did not come to begin it.
            self._is_there = False
            return
        self._read += len(pulled.output)
        self.tail = (self.tail + pulled.output)[-TAIL_BYTES:]
        if pulled.exited:
            self.exited_at = self.exited_at or time.monotonic()
            self._released.wait(WAIT_SECONDS)


class Followers:
    """All of them; none for a run on one device."""

    def __init__(self, all_of_them: list[Follower]) -> None:
        self._all = all_of_them

    def start(self) -> None:
        for follower in self._all:
            follower.start()

    def look(self, meeting: bytes | None) -> None:
        """Go on, now that rank 0 waits at `meeting`; None: it does not wait yet, or has met all.

        Raises what has kept one of them from being begun or looked after, NotMet, and DiedBefore.
        """
        for follower in self._all:
            if follower.failure is not None:
                raise follower.failure
            follower.meeting = meeting or follower.meeting
            ended = follower.exited_at is not None and time.monotonic() - follower.exited_at > MEETING_SECONDS
            if meeting is not None and ended:
                raise self._not_met(follower, meeting)

    def all_answer(self) -> bool:
        """Whether no machine is gone. Takes some seconds if one is."""
        if not self._all:
            return True
        with ThreadPoolExecutor(len(self._all)) as pool:
            return all(pool.map(Follower.answers, self._all))

    def release(self, *, ends: bool) -> None:
        for follower in self._all:
            follower.release(ends=ends)

    def _not_met(self, follower: Follower, meeting: bytes) -> Exception:
        where, output = orjson.loads(meeting), follower.tail.decode(errors="replace")
        device = follower.place.device
        if NO_CONNECTION not in output:
            return DiedBefore(f"the trainer on {device} has ended before it met the first one:\n{output}")
        return NotMet(
            f"{device} cannot connect to {where['address']}, port {where['port']}, where the run's first device is. "
            "Nodes need connections to each other on all ports: docs/cluster.md.",
            output,
        )
