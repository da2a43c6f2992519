"""A worker's loop for one device of a node: it claims as the workers of the home do, once the seat has answered."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import update
from sqlmodel import col, select

from app.cluster.node_seat import NodeGreeting
from app.cluster.seats import NodeDevice
from app.cluster.turn import Turn
from app.cluster.versions import versions
from app.host.gpu_test import DeviceTest
from app.host.nodes import Draining, draining
from app.host.probes import Reading
from app.host.workers import node_of
from app.jobs.kinds import RUN, Kind
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ACTIVE, Run, Status, Worker
from app.worker.gang import Place
from app.worker.loop import WorkerLoop
from app.worker.remote import RemoteExecutor
from app.worker.seat_calls import SeatCalls, Unreachable
from trainer.node.calls import Greeting, Holding, Refused

GREET_SECONDS = 5.0  # between two greetings
SILENT_SECONDS = 12.0  # a seat whose last answer is older takes no run
LEAST_FREE_BYTES = 1 << 30
SILENT = "the node does not answer"
CLOCK_SECONDS = 2.0  # by which a node's clock may be off before it is said
MOVE_SECONDS = 5.0  # between two signals to a trainer whose node is drained, and its run moved

log = logging.getLogger(__name__)


class GreetedSeat:
    """A seat that is asked every few seconds how it is. `calls` may be another one after its node has joined anew."""

    def __init__(self, name: str, node_id: str, calls: Any | None) -> None:
        self.name = name
        self.greeting: NodeGreeting | None = None
        self.at = 0.0
        self.connect(node_id, calls)
        self._wake = threading.Event()
        self._closed = False
        threading.Thread(target=self._work, name=f"greetings of {name}", daemon=True).start()

    def connect(self, node_id: str, calls: Any | None) -> None:
        self.node_id, self.calls = node_id, calls

    @property
    def there_since(self) -> float:
        return 0.0 if self.calls is None else self.calls.there_since

    @property
    def address(self) -> str:
        """Raises Unreachable."""
        address: str = self.__getattr__("address")
        return address

    def __getattr__(self, name: str) -> Any:
        """The calls of the seat, and its address. They raise Unreachable while there is none."""
        if self.calls is None:
            raise Unreachable(f"{self.name} is not there")
        return getattr(self.calls, name)

    def ask_again(self) -> None:
        """What the seat said last does not count any more."""
        self.greeting = None
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    def _work(self) -> None:
        silent = False
        while not self._closed:
            self._wake.clear()
            try:
                self.greeting, self.at = self.greet(), time.monotonic()
                silent = False
            except Unreachable as error:
                if not silent:
                    log.info("%s does not answer: %s", self.name, error)
                silent = True
            except Exception:  # whatever is wrong with a node concerns this node only
                log.exception("%s fails to answer", self.name)
            self._wake.wait(GREET_SECONDS)


class SeatTest(DeviceTest):
    """Whether a run may be begun on the seat: it answers, has our versions and room on its disk, and does not leave."""

    def __init__(self, seat: GreetedSeat, is_drained: Callable[[], bool] = lambda: False) -> None:
        super().__init__("cpu")
        self._seat, self._is_drained = seat, is_drained
        self.passed = False
        self.problem = SILENT

    def look(self, now: float) -> bool:
        self.problem = self._problem(now)
        return self.problem is None

    def _problem(self, now: float) -> str | None:
        greeting = self._seat.greeting
        if greeting is None or now - self._seat.at > SILENT_SECONDS:
            return SILENT
        if greeting.draining:
            return "the node is leaving"
        if self._is_drained():
            return "the node is drained"
        here, there = versions(), greeting.seat.versions
        for name, version in here.items():
            if there.get(name) != version:
                return f"{name} {there.get(name)} is installed there, and {version} here: install the same version"
        if greeting.seat.free < LEAST_FREE_BYTES:
            return "its disk is almost full"
        return None


def described(greeting: Greeting, at: float) -> str:
    """The device, and how far the node's clock is off if it is. The greeting came `at` this time."""
    ahead = greeting.clock - at
    if abs(ahead) < CLOCK_SECONDS:
        return greeting.description
    return f"{greeting.description}, clock {abs(ahead):,.0f} s {'ahead' if ahead > 0 else 'behind'}"


class SeatProbe:
    def __init__(self, seat: GreetedSeat) -> None:
        self._seat = seat

    def read(self) -> Reading | None:
        greeting = self._seat.greeting
        return None if greeting is None else greeting.reading


class SeatLoop(WorkerLoop):
    BEAT_SECONDS = 5.0  # there may be hundreds

    def __init__(
        self,
        settings: Settings,
        database: Database,
        device: NodeDevice,
        calls: SeatCalls | None,
        shipping: threading.Lock,
        turn: Turn,
        find: Callable[[str], SeatLoop],
    ) -> None:
        """`find` returns the loop of another device by its name."""
        self.seat = GreetedSeat(device.name, device.node_id, calls)
        self.place = Place(device.name, self.seat, shipping)
        executor = RemoteExecutor(settings, self.place, lambda name: find(name).place)
        super().__init__(
            settings, database, device.name, executor, SeatTest(self.seat, lambda: self._draining() is not None),
            host=device.host, probe=SeatProbe(self.seat), hint=turn,
        )  # fmt: skip
        self._turn, self._find = turn, find
        self._seen: NodeGreeting | None = None
        self._fit = False
        self._moved_at = 0.0

    @property
    def node_id(self) -> str:
        return self.seat.node_id

    @property
    def is_ready(self) -> bool:
        return self._fit

    def _tested(self, now_: float) -> bool:
        """A run of a seat that is gone is adopted too: that is how it is queued again."""
        fit, self._fit = self._fit, super()._tested(now_)
        if fit != self._fit:
            self._beat_at = 0.0  # other devices' loops read from this one's row whether they may take it
        return True

    def find_work(self, now_: float, *, claims: bool = True) -> None:
        if self.seat.greeting is not None and self.seat.greeting is not self._seen:
            self._seen = self.seat.greeting
            self._description = described(self._seen.seat, time.time() - (time.monotonic() - self.seat.at))
            self._end_what_is_over(self._seen)
        if RUN in self.held and now_ > self._moved_at + MOVE_SECONDS and self._is_moved():
            self._moved_at = now_
            self.held[RUN].interrupt()
        super().find_work(now_, claims=claims and self._fit)

    def refresh(self) -> None:
        """Read the held run's row again if this turn has found that others have changed it."""
        held = self.held.get(RUN)
        if held is not None and self._turn.rows.get(held.job.key or 0) != (held.job.status, held.job.claim):
            super().refresh()

    def leave(self) -> None:
        """Stop following. The trainers go on, for the next outpost to find."""
        self.held.clear()
        self.end()
        self.seat.close()

    def _draining(self) -> Draining | None:
        return draining(self.settings.home, self.host)

    def _is_moved(self) -> bool:
        """Whether the held run is to go on elsewhere: one of its nodes is drained so."""
        hosts = {self.host, *(node_of(name) for name in self._others())}
        return any(draining(self.settings.home, host) is Draining.MOVE for host in hosts)

    def _others(self) -> Sequence[str]:
        """The other devices of the run that is held."""
        held = self.held.get(RUN)
        return held.job.other_devices or () if held is not None and isinstance(held.job, Run) else ()

    def distrust(self) -> None:
        """Take no run until the seat has answered again: its node may be gone."""
        self.seat.ask_again()
        self._fit = False
        with self.database.write(durable=False) as session:
            session.exec(update(Worker).where(col(Worker.id) == self.id).values(ready=False))

    def _let_go(self, kind: Kind) -> None:
        held, others = self.held.get(kind), self._others()
        super()._let_go(kind)
        if held is not None and held.job.status not in (Status.QUEUED, *ACTIVE):
            return  # it has ended, so its seats are there
        for loop in (self, *map(self._find, others)):
            loop.distrust()

    def _end_what_is_over(self, greeting: NodeGreeting) -> None:
        """Have the seat delete the runs that have ended or gone on elsewhere while it was not there."""
        for holding in greeting.seat.holding:
            with self.database.read() as session:
                row = session.exec(select(Run).where(Run.id == holding.run)).first()
            claim = holding.claim + 1 if row is None else row.claim
            if (
                row is not None
                and row.status in ACTIVE
                and row.attempt == holding.attempt
                and self.device in (row.device, *(row.other_devices or []))
            ):
                continue  # it is held, or will be adopted
            if claim < holding.claim:
                continue
            log.info("%s is over on %s", holding.run, self.device)
            threading.Thread(target=self._end_on_seat, args=(holding, claim), daemon=True).start()

    def _end_on_seat(self, holding: Holding, claim: int) -> None:
        try:
            self.seat.end(holding.run, claim, holding.attempt)
        except (Unreachable, Refused) as error:
            log.info("%s: %s", holding.run, error)
