"""One worker a device: claims jobs, has them forked, follows their event files, and decides when they are dead."""

from __future__ import annotations

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil
from sqlalchemy.exc import OperationalError

from app.host.devices import describe_device
from app.host.identity import host_name, worker_id
from app.host.telemetry import Recorder, probe_of
from app.jobs.claims import adopt_next, claim_next, has_work, lease
from app.jobs.conclude import conclude, requeue_or_fail
from app.jobs.ingest import ingest
from app.jobs.tail import is_behind
from app.jobs.task_ingest import ingest_task
from app.settings import Settings
from app.storage import changes
from app.storage.db import ChangeHint, Database
from app.storage.tables import Job, Run, Status, Task, Worker, now
from app.storage.transitions import LostClaim, guarded_update
from trainer.process.assignment import Assignment
from trainer.process.forkclient import ForkServer
from trainer.rundir.events import EventWriter
from trainer.rundir.lock import lock_holder

log = logging.getLogger(__name__)

TICK_SECONDS = 0.02
START_SECONDS = 60.0
# The module that a trainer's command line names. The second is its name up to version 0.1.0: a trainer outlives an
# upgrade, and has to be stopped and reaped all the same.
FORK_SERVERS = frozenset({"trainer.process.forkserver", "trainer.forkserver"})


@dataclass
class Held:
    """A job under this worker's claim."""

    job: Job
    folder: Path
    since: float
    lock_seen: bool = False
    asked_to_stop: float | None = None
    killed: bool = False


class WorkerLoop:
    """`tick` does everything once; `run` repeats it until told to end. Signal handlers only set flags."""

    def __init__(self, settings: Settings, database: Database, device: str) -> None:
        self.settings = settings
        self.database = database
        self.device = device
        self.id = worker_id(device)
        self.ending = False  # not a threading.Event: a signal that comes while its lock is held would never return
        self._hint = ChangeHint(database)
        self._recorder = Recorder(host_name(), device, probe_of(device))
        self._forkserver: ForkServer | None = None
        self._held: dict[type[Job], Held] = {}  # at most one run and one task
        self._beat_at = 0.0
        self._look_at = 0.0
        self._started_at = now()

    def install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True

    def run(self) -> None:
        self._forkserver = ForkServer()  # loads torch while we look for work
        while not self.ending:
            try:
                self.tick(time.monotonic())
            except OperationalError as error:
                # A process that was stopped in the middle of a write holds the database, or the disk is full: ours
                # was rolled back.
                if "locked" not in str(error) and "is full" not in str(error):
                    raise
                log.warning("the database cannot be written: trying again (%s)", error.orig)
                self._refresh()
            time.sleep(TICK_SECONDS)
        self.end()

    def tick(self, now_: float) -> None:
        changed = self._hint.changed()
        self._beat_if_due(now_)
        if changed or now_ >= self._look_at:
            self._look_at = now_ + 1.0
            self._find_work(now_)
            self._refresh()
        self._follow_all(now_)

    def end(self) -> None:
        """Have trainers save and end, hand their runs back to the queue, and leave."""
        deadline = time.monotonic() + self.settings.stop_seconds
        for held in self._held.values():
            self._signal(held, signal.SIGTERM)
        while self._held and time.monotonic() < deadline:
            self._beat_if_due(time.monotonic())
            self._follow_all(time.monotonic())
            time.sleep(TICK_SECONDS)
        with self.database.write(durable=False) as session:
            row = session.get(Worker, self.id)
            if row is not None:
                session.delete(row)
        if self._forkserver is not None:
            self._forkserver.close()
        self._hint.close()

    def _follow_all(self, now_: float) -> None:
        for kind, held in list(self._held.items()):
            if self._follow(held, now_):
                self._held.pop(kind, None)
                self._look_at = 0.0

    def _beat_if_due(self, now_: float) -> None:
        if now_ >= self._beat_at:
            self._beat_at = now_ + min(2.0, self.settings.lease_seconds / 4)
            self._beat()

    def _beat(self) -> None:
        """Renew the leases, touch the owner files, and be seen."""
        for kind, held in list(self._held.items()):
            try:
                with self.database.write(durable=False) as session:
                    guarded_update(session, held.job, **lease(self.settings.lease_seconds))
            except LostClaim:
                log.info("%s was taken over by another worker", held.job.id)
                del self._held[kind]
            else:
                (held.folder / "owner").touch()
        with self.database.write(durable=False) as session:
            row = session.get(Worker, self.id)
            if row is None:
                row = Worker(
                    id=self.id, host=host_name(), pid=os.getpid(), device=self.device, started_at=self._started_at
                )
                row.description = describe_device(self.device)
            row.seen_at = now()
            row.run = self._held[Run].job.id if Run in self._held else None
            session.add(row)
            self._recorder.record(session, time.time())
            changes.prune(session)

    def _find_work(self, now_: float) -> None:
        claims: tuple[tuple[type[Run] | type[Task], Path], ...] = (
            (Run, self.settings.runs),
            (Task, self.settings.tasks),
        )
        for kind, folder in claims:
            if kind in self._held:
                continue
            with self.database.read() as session:
                if not has_work(session, kind):
                    continue
            with self.database.write() as session:
                adopted = adopt_next(session, kind, self.id, self.device, self.settings.lease_seconds)
                job = adopted or claim_next(session, kind, self.id, self.device, self.settings.lease_seconds)
            if job is not None:
                held = self._held[kind] = Held(job, folder / job.id, now_)
                self._begin(held, fresh=adopted is None)

    def _begin(self, held: Held, *, fresh: bool) -> None:
        (held.folder / "owner").touch()
        if fresh:
            # The empty file fences off any trainer of an older attempt before the new one exists.
            EventWriter(held.folder, held.job.attempt).close()
            self._fork(held)
        else:
            log.info("adopted %s", held.job.id)

    def _fork(self, held: Held) -> None:
        for _ in range(2):
            if self._forkserver is None:
                self._forkserver = ForkServer()
            try:
                pid = self._start(self._forkserver, held)
            except ConnectionError:
                log.warning("the fork server is gone: starting another")
                self._forkserver = None
                continue
            with self.database.write(durable=False) as session:
                guarded_update(session, held.job, pid=pid, phase="data")
            return
        log.error("no trainer could be forked for %s", held.job.id)

    def _start(self, forkserver: ForkServer, held: Held) -> int:
        if isinstance(held.job, Task):
            return forkserver.task(held.folder.resolve(), held.job.attempt)
        return forkserver.run(
            Assignment(
                run_dir=str(held.folder.resolve()),
                datasets=str(self.settings.datasets.resolve()),
                device=self.device,
                attempt=held.job.attempt,
                orphan_seconds=self.settings.orphan_seconds,
            )
        )

    def _refresh(self) -> None:
        """Read the jobs again: somebody may have asked for a stop, or taken one away.

        After a write that was rolled back this also undoes what `held.job` already showed.
        """
        for kind, held in list(self._held.items()):
            with self.database.read() as session:
                row = session.get(kind, held.job.key)
            if row is None or row.claim != held.job.claim:
                del self._held[kind]
            else:
                held.job = row

    def _follow(self, held: Held, now_: float) -> bool:
        """Ingest what is new and see to the trainer's life. True once the job is no longer ours."""
        try:
            if held.job.status == Status.STOPPING:
                self._stop(held, now_)
            if is_behind(held.job, held.folder):
                return self._ingest(held)
            return self._bury_if_dead(held, now_)
        except LostClaim:
            self._refresh()  # a stop was asked for meanwhile, or the claim is gone
            return held not in self._held.values()

    def _ingest(self, held: Held) -> bool:
        with self.database.write(durable=False) as session:
            end = (
                ingest_task(session, held.job, held.folder)
                if isinstance(held.job, Task)
                else ingest(session, held.job, held.folder)  # type: ignore[arg-type]
            )
            if end is not None:
                conclude(session, held.job, end)
        return end is not None

    def _stop(self, held: Held, now_: float) -> None:
        if held.asked_to_stop is None:
            held.asked_to_stop = now_
            self._signal(held, signal.SIGTERM)
        elif now_ - held.asked_to_stop > self.settings.stop_seconds and not held.killed:
            log.warning("%s did not stop in time: killing it", held.job.id)
            held.killed = True
            self._signal(held, signal.SIGKILL)

    def _signal(self, held: Held, number: signal.Signals) -> None:
        pid = lock_holder(held.folder) or held.job.pid
        if pid and _is_ours(pid):
            os.kill(pid, number)

    def _bury_if_dead(self, held: Held, now_: float) -> bool:
        """A free lock and no process that could still take it: the trainer is dead without a word."""
        holder = lock_holder(held.folder)
        if holder is not None:
            held.lock_seen = held.lock_seen or holder == held.job.pid
            if not held.lock_seen and held.job.pid and not _is_ours(held.job.pid):
                # Ours gave up waiting for a trainer of an older attempt, which does not let go by itself.
                os.kill(holder, signal.SIGKILL)
            return False
        if not held.lock_seen and held.job.pid and _is_ours(held.job.pid) and now_ - held.since < START_SECONDS:
            return False
        if is_behind(held.job, held.folder):
            return False  # its last words came while we looked
        with self.database.write() as session:
            requeue_or_fail(session, held.job, held.folder, self.settings.max_attempts)
        return True


def _is_ours(pid: int) -> bool:
    """Whether a process that a fork server made still lives there; numbers are given out again."""
    try:
        return not FORK_SERVERS.isdisjoint(psutil.Process(pid).cmdline())  # empty for a zombie
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def main(device: str, settings: Settings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(message)s")
    database = Database(settings.url)
    loop = WorkerLoop(settings, database, device)
    loop.install_signals()
    loop.run()
    database.close()
