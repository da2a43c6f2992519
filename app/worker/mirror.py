"""Copies what a trainer on a node writes to the run's directory in the home, in an order that keeps promises.

- A file of events at home is a prefix of the node's, byte by byte and in whole lines. Its size is what has arrived.
- Decisions are written before the events that follow from them, and a checkpoint is listed only after all events
  before it are durable. So a run that goes on elsewhere from a checkpoint at home has no gap.
- The `end` line is written once all other files are here.
- One mirror per run: it holds the lock of the run's directory, as a trainer at home would.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path

import orjson

from app.worker.copied_file import append, split_before
from app.worker.fetcher import Fetcher
from app.worker.followers import DiedBefore, Follower, Followers
from app.worker.gang import Gang
from app.worker.patient_seat import PatientSeat
from app.worker.seat_calls import Lost, SeatCalls
from app.worker.shipment import collect
from trainer.errors import DISK_FULL
from trainer.node.calls import Beginning, Damaged, Have, NotBegun, Pulled, Refused, Stamp, requests_of
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir
from trainer.rundir.lock import hold_lock
from trainer.system.durable import sync_file, write_durably

WAIT_SECONDS = 0.5  # in which a seat answers, also without news
RETRY_SECONDS = 0.25
HOLD_SECONDS = 0.05  # between two looks at whether all files are here
LOCK_SECONDS = 30.0
ADOPT_SECONDS = 90.0  # in which a seat must answer the first call of a mirror that has not begun the attempt
SHIPMENTS = 3  # that arrive damaged: then the files at home are
OUTPUT_BYTES = 64 << 20  # of a trainer's output that are copied
END, PRUNED = b'{"e":"end"', b'{"e":"pruned"'

log = logging.getLogger(__name__)


class State(StrEnum):
    SHIPPING = "shipping"
    FOLLOWING = "following"
    EXITED = "exited"  # the trainer is gone, and all that it wrote is here
    LOST = "lost"
    REFUSED = "refused"  # another home, or a later claim, has the run


class Mirror:
    """One attempt of one run. `begins`: it is to be started; otherwise it runs already.

    `patience_seconds`: how long the seat may be silent before the attempt is given up.
    """

    def __init__(
        self,
        run_dir: Path,
        datasets: Path,
        seat: SeatCalls,
        *,
        attempt: int,
        claim: int,
        begins: bool,
        patience_seconds: float,
        orphan_seconds: float,
        shipping: threading.Lock | None = None,
        gang: Gang | None = None,
    ) -> None:
        self.run = RunDir(run_dir)
        self.attempt, self.claim = attempt, claim
        self.state = State.SHIPPING if begins else State.FOLLOWING
        self.pid: int | None = None
        self.error: Exception | None = None
        self._datasets, self._orphan_seconds, self._gang = datasets, orphan_seconds, gang
        self._shipping = shipping or threading.Lock()  # one shipment to a machine at a time: the next finds it there
        self._fetcher = Fetcher(self.run, self._read)
        # A node takes a while to come back after the home was gone.
        grace = 0.0 if begins else max(0.0, ADOPT_SECONDS - patience_seconds)
        self._released = threading.Event()
        self._seat = PatientSeat(seat, self._released, patience_seconds, grace)
        self._followers = Followers([
            Follower(
                rank, gang, run_dir, datasets, attempt=attempt, claim=claim, begins=begins,
                patience_seconds=patience_seconds + grace, orphan_seconds=orphan_seconds,
            )
            for rank in range(1, len(gang.places))
        ] if gang is not None else [])  # fmt: skip
        self._decisions: Stamp | None = None
        self._passed_on: dict[str, int] = {}
        self._pruned: set[int] = set()
        self._end_seen = False
        self._ends_seat = False
        self._thread = threading.Thread(target=self._work, name=f"mirror {run_dir.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def signal(self, number: int) -> None:
        """Signal the trainer, without waiting for an answer."""
        calls = (self.run.path.name, self.claim, self.attempt, number)
        threading.Thread(target=self._seat.once, args=(lambda seat: seat.signal(*calls),), daemon=True).start()

    def checkpoints_changed(self) -> bool:
        """Whether checkpoints have come or were deleted at home since the last call."""
        return self._fetcher.have_changed()

    def release(self, *, ends: bool) -> None:
        """Stop following. `ends`: the run is over, or goes on elsewhere, and the seat may delete it."""
        if not self._released.is_set():
            self._ends_seat = ends
            self._released.set()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def _work(self) -> None:
        try:
            lock = hold_lock(self.run.path, LOCK_SECONDS)
            try:
                self._mirror()
            finally:
                self._followers.release(ends=self._ends_seat and self.state is not State.REFUSED)
                self._fetcher.close()
                os.close(lock)  # the run may go on elsewhere
            if self._ends_seat and self.state is not State.REFUSED:
                self._seat.once(lambda seat: seat.end(self.run.path.name, self.claim, self.attempt))
        except Exception as error:
            log.exception("%s is not followed any more", self.run.path.name)
            self.error = error

    def _mirror(self) -> None:
        """Begin, follow, and wait to be released."""
        self._followers.start()
        try:
            if self.state is State.SHIPPING:
                self._begin()
            self._repair()
            self.state = State.FOLLOWING
            while self.state is State.FOLLOWING and not self._released.is_set():
                self._step()
        except Refused as error:
            log.warning("%s", error)
            self.state = State.REFUSED
        except (Lost, NotBegun) as error:
            log.warning("%s is given up here: %s", self.run.path.name, error)
            self.state = State.LOST
        self._released.wait()

    def _begin(self) -> None:
        # The empty file stops a trainer of an older attempt, wherever it is.
        EventWriter(self.run.path, self.attempt).close()
        gang, part = self._gang, None
        if gang is not None:
            part = gang.part(0, self._seat.call(lambda _: gang.address_of(0)))
        for tries in range(SHIPMENTS):
            shipment = collect(self.run.path, self._datasets, self.attempt, self.claim, self._orphan_seconds, part)
            try:
                with self._shipping:
                    self._seat.ship(shipment.sources)
                self.pid = self._seat.call(partial(_begin, shipment.beginning))
                return
            except Damaged as error:
                if tries == SHIPMENTS - 1:
                    raise
                log.warning("%s: sending it again", error)

    def _repair(self) -> None:
        """Cut off a line that a killed mirror has left unfinished."""
        path = self.run.events(self.attempt)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        whole = path.read_bytes().rfind(b"\n") + 1
        os.truncate(path, whole)

    def _step(self) -> None:
        """Pull once, and write what has come."""
        self._pass_on_requests()
        have = Have(
            events=self.run.events(self.attempt).stat().st_size,
            output=self.run.output.stat().st_size if self.run.output.exists() else 0,
            decisions=self._decisions,
            checkpoints=self._fetcher.steps,
        )
        name = self.run.path.name
        pulled = self._seat.call(lambda seat: seat.pull(name, self.claim, self.attempt, have, WAIT_SECONDS))
        self.pid = pulled.pid
        self._take_back_requests(pulled)
        if not pulled.exited:
            self._look_at_followers(pulled)
        try:
            self._write(pulled, have)
        except OSError as error:  # a full disk at home: the node keeps what it has
            log.warning("%s cannot be copied: trying again (%s: %s)", name, DISK_FULL, error)
            self._released.wait(RETRY_SECONDS)

    def _look_at_followers(self, pulled: Pulled) -> None:
        """Raises what keeps the run from being trained on all of its devices."""
        try:
            self._followers.look(pulled.meeting)
        except DiedBefore as error:
            log.warning("%s: %s", self.run.path.name, error)
            self.signal(signal.SIGKILL)
            self._released.wait(RETRY_SECONDS)

    def _write(self, pulled: Pulled, have: Have) -> None:
        if pulled.decisions is not None:
            write_durably(self.run.decisions, pulled.decisions)
        self._decisions = pulled.decisions_stamp
        text = pulled.events[: pulled.events.rfind(b"\n") + 1]
        before, end = split_before(text, END)
        ended_before = self._end_seen
        self._end_seen = self._end_seen or bool(end)
        append(self.run.events(self.attempt), have.events, before)
        if have.output < OUTPUT_BYTES:
            append(self.run.output, have.output, pulled.output)
        if (not pulled.more or end) and self._fetcher.lacks(pulled.checkpoints, pulled.files):
            sync_file(self.run.events(self.attempt))  # all events before these checkpoints are here
            self._fetcher.want(pulled.checkpoints, pulled.files)
        self._prune(before)
        # The files were listed before the events were read: only the second list after the `end` line is the last one.
        if end and ended_before and self._fetcher.is_done:
            append(self.run.events(self.attempt), have.events + len(before), end)
        elif end:
            self._released.wait(HOLD_SECONDS)
        elif pulled.exited and not pulled.more and not text:
            if self._fetcher.is_done:
                # Where the machine of another rank is gone, the trainer has not died of itself.
                self.state = State.EXITED if self._end_seen or self._followers.all_answer() else State.LOST
            else:
                self._released.wait(HOLD_SECONDS)

    def _prune(self, text: bytes) -> None:
        """Delete the checkpoints that the trainer has deleted, unless they are the newest ones that are here."""
        for line in text.splitlines():
            if line.startswith(PRUNED):
                self._pruned.update(orjson.loads(line)["steps"])
        if self._pruned:
            self._pruned -= self._fetcher.prune(self._pruned)

    def _pass_on_requests(self) -> None:
        for name, relative in requests_of(self.run).items():
            path = self.run.path / relative
            try:
                stamp = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if self._passed_on.get(name) != stamp:
                self._request(name, stamp)
                self._passed_on[name] = stamp

    def _take_back_requests(self, pulled: Pulled) -> None:
        """Delete the requests that the trainer has answered, as it does itself on the node."""
        for name, relative in requests_of(self.run).items():
            path, passed_on = self.run.path / relative, self._passed_on.get(name)
            with suppress(FileNotFoundError):
                if passed_on is not None and name not in pulled.requests and path.stat().st_mtime_ns == passed_on:
                    path.unlink()

    def _read(self, path: str, offset: int, size: int) -> bytes:
        return self._seat.call(lambda seat: seat.read(self.run.path.name, self.claim, path, offset, size))

    def _request(self, name: str, stamp: int) -> None:
        self._seat.call(lambda seat: seat.request(self.run.path.name, self.claim, name, stamp))


def _begin(what: Beginning, seat: SeatCalls) -> int | None:
    return seat.begin(what)
