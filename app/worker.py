"""One worker a device: claims jobs, has them forked, follows their event files, and decides when they are dead."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from sqlmodel import Session, col, select

from app import changes
from app.claims import adopt_next, claim_next_run, claim_next_task, host_name, lease, worker_id
from app.db import ChangeHint, Database
from app.ingest import ingest, is_behind
from app.run_models import public
from app.settings import Settings
from app.tables import ACTIVE, Job, Run, Status, Task, Worker, now
from app.task_ingest import ingest_task
from app.tasks import task_public
from app.transitions import LostClaim, guarded_update, move
from trainer.assignment import Assignment
from trainer.events import Event, EventWriter
from trainer.forkclient import ForkServer
from trainer.lock import lock_holder
from trainer.rundir import journal

log = logging.getLogger(__name__)

TICK_SECONDS = 0.02
START_SECONDS = 60.0


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
        self.ending = threading.Event()
        self._hint = ChangeHint(database)
        self._forkserver: ForkServer | None = None
        self._run: Held | None = None
        self._task: Held | None = None
        self._beat_at = 0.0
        self._look_at = 0.0
        self._started_at = now()

    def install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ending.set()

    def run(self) -> None:
        self._forkserver = ForkServer()  # loads torch while we look for work
        while not self.ending.is_set():
            self.tick(time.monotonic())
            self.ending.wait(TICK_SECONDS)
        self.end()

    def tick(self, now_: float) -> None:
        changed = self._hint.changed()
        if now_ >= self._beat_at:
            self._beat_at = now_ + min(2.0, self.settings.lease_seconds / 4)
            self._beat()
        if changed or now_ >= self._look_at:
            self._look_at = now_ + 1.0
            self._find_work(now_)
            self._refresh()
        for slot in ("_run", "_task"):
            held: Held | None = getattr(self, slot)
            if held is not None and self._follow(held, now_):
                setattr(self, slot, None)
                self._look_at = 0.0

    def end(self) -> None:
        """Have trainers save and end, hand their runs back to the queue, and leave."""
        deadline = time.monotonic() + self.settings.stop_seconds
        for held in filter(None, (self._run, self._task)):
            self._signal(held, signal.SIGTERM)
        while (self._run or self._task) and time.monotonic() < deadline:
            self._beat_if_due()
            for slot in ("_run", "_task"):
                held_now: Held | None = getattr(self, slot)
                if held_now is not None and self._follow(held_now, time.monotonic()):
                    setattr(self, slot, None)
            threading.Event().wait(TICK_SECONDS)
        with self.database.write(durable=False) as session:
            row = session.get(Worker, self.id)
            if row is not None:
                session.delete(row)
        if self._forkserver is not None:
            self._forkserver.close()
        self._hint.close()

    def _beat_if_due(self) -> None:
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + 2.0
            self._beat()

    def _beat(self) -> None:
        """Renew the leases, touch the owner files, and be seen."""
        for slot in ("_run", "_task"):
            held: Held | None = getattr(self, slot)
            if held is None:
                continue
            try:
                with self.database.write(durable=False) as session:
                    guarded_update(session, held.job, **lease(self.settings.lease_seconds))
            except LostClaim:
                log.info("%s was taken over by another worker", held.job.id)
                setattr(self, slot, None)
                continue
            (held.folder / "owner").touch()
        with self.database.write(durable=False) as session:
            row = session.get(Worker, self.id)
            if row is None:
                row = Worker(
                    id=self.id, host=host_name(), pid=os.getpid(), device=self.device, started_at=self._started_at
                )
                row.description = describe_device(self.device)
            row.seen_at = now()
            row.run = self._run.job.id if self._run else None
            session.add(row)
            changes.prune(session)

    def _find_work(self, now_: float) -> None:
        if self.ending.is_set():
            return
        seconds = self.settings.lease_seconds
        if self._run is None:
            with self.database.read() as session:
                waiting = _has_work(session, Run)
            if waiting:
                with self.database.write() as session:
                    adopted = adopt_next(session, Run, self.id, self.device, seconds)
                    run = adopted or claim_next_run(session, self.id, self.device, seconds)
                if run is not None:
                    self._run = self._hold(run, self.settings.runs / run.id, now_, fresh=adopted is None)
        if self._task is None:
            with self.database.read() as session:
                waiting = _has_work(session, Task)
            if waiting:
                with self.database.write() as session:
                    adopted_task = adopt_next(session, Task, self.id, self.device, seconds)
                    task = adopted_task or claim_next_task(session, self.id, self.device, seconds)
                if task is not None:
                    self._task = self._hold(task, self.settings.tasks / task.id, now_, fresh=adopted_task is None)

    def _hold(self, job: Job, folder: Path, now_: float, *, fresh: bool) -> Held:
        held = Held(job, folder, now_)
        (folder / "owner").touch()
        if fresh:
            # The empty file fences off any trainer of an older attempt before the new one exists.
            EventWriter(folder, job.attempt).close()
            self._fork(held)
        else:
            log.info("adopted %s", job.id)
        return held

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
        """See whether somebody asked for a stop, or took the job away."""
        for slot in ("_run", "_task"):
            held: Held | None = getattr(self, slot)
            if held is None:
                continue
            with self.database.read() as session:
                row = session.get(type(held.job), held.job.key)
            if row is None or row.claim != held.job.claim:
                setattr(self, slot, None)
            elif row.status != held.job.status:
                held.job.status = row.status

    def _follow(self, held: Held, now_: float) -> bool:
        """Ingest what is new and see to the trainer's life. True once the job is no longer ours."""
        try:
            if held.job.status == Status.STOPPING:
                self._stop(held, now_)
            if is_behind(held.job, held.folder):
                return self._ingest(held)
            return self._bury_if_dead(held, now_)
        except LostClaim:
            self._refresh()
            return getattr(self, "_run", None) is not held and getattr(self, "_task", None) is not held

    def _ingest(self, held: Held) -> bool:
        with self.database.write(durable=False) as session:
            end = (
                ingest_task(session, held.job, held.folder)
                if isinstance(held.job, Task)
                else ingest(session, held.job, held.folder)  # type: ignore[arg-type]
            )
            if end is not None:
                self._conclude(session, held, end)
        return end is not None

    def _conclude(self, session: Session, held: Held, end: Event) -> None:
        """The trainer said how it ended: the job's state follows in the same transaction."""
        job, reason = held.job, end["reason"]
        if reason == "finished":
            extra = {"result": end.get("result")} if isinstance(job, Task) else {}
            move(session, job, Status.FINISHED, finished_at=now(), phase=None, pid=None, **extra)
        elif reason == "failed":
            move(session, job, Status.FAILED, finished_at=now(), phase=None, pid=None, error=end["error"])
        elif job.status == Status.STOPPING:
            move(session, job, Status.STOPPED, finished_at=now(), phase=None, pid=None)
        else:
            move(session, job, Status.QUEUED, phase=None, pid=None)
        tell(session, job)

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
            self._requeue_or_fail(session, held)
        return True

    def _requeue_or_fail(self, session: Session, held: Held) -> None:
        job = held.job
        deaths = job.deaths + 1
        if job.status == Status.STOPPING:
            move(session, job, Status.STOPPED, finished_at=now(), phase=None, pid=None)
        elif deaths >= self.settings.max_attempts:
            error = {
                "code": "trainer_died",
                "message": f"The trainer died {deaths} times without saying why, last at step "
                f"{getattr(job, 'step', 0)}. It may have run out of memory: the last lines of output.log may tell.",
                "detail": last_output(held.folder),
            }
            journal(held.folder, "failed", error=error)
            move(session, job, Status.FAILED, finished_at=now(), phase=None, pid=None, deaths=deaths, error=error)
        else:
            log.warning("the trainer of %s died: queued again (%d)", job.id, deaths)
            move(session, job, Status.QUEUED, phase=None, pid=None, deaths=deaths)
        tell(session, job)


def tell(session: Session, job: Job) -> None:
    if isinstance(job, Run):
        changes.publish(session, job.id, "status", public(job).live())
    elif isinstance(job, Task):
        changes.publish(session, job.id, "task", task_public(job).model_dump(mode="json"))


def _has_work(session: Session, kind: type[Run] | type[Task]) -> bool:
    found = session.exec(select(kind.key).where(col(kind.status).in_([Status.QUEUED, *ACTIVE])).limit(1)).first()
    return found is not None


def _is_ours(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def last_output(folder: Path, limit: int = 4000) -> str:
    path = folder / "output.log"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - limit))
        return file.read().decode(errors="replace")


def describe_device(device: str) -> str:
    if device == "cpu":
        count: Any = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return f"{count} cores"
    return device


def main(device: str, settings: Settings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(message)s")
    database = Database(settings.url)
    loop = WorkerLoop(settings, database, device)
    loop.install_signals()
    loop.run()
    database.close()
