"""A job under a worker's claim: follow its event files, stop its trainer, and reap a trainer that has exited."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import OperationalError

from app.jobs.checkpoints import match_checkpoints
from app.jobs.claims import lease
from app.jobs.conclude import conclude, fail, requeue_or_fail
from app.jobs.kinds import Kind
from app.jobs.tail import is_behind
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Job, Run, Status
from app.storage.transitions import LostClaim, guarded_update
from app.worker.executor import Executor, Trainer
from trainer.errors import explain

log = logging.getLogger(__name__)

ABANDON_SECONDS = 5.0  # a killed process that is still there by then does not return from the kernel
COMPILE_SECONDS = 300.0  # more than usual for a trainer that compiles: some compilers do not return on a signal


class HeldJob:
    """A job under this worker's claim. Writes are guarded by it: LostClaim means that another worker has the job."""

    def __init__(self, kind: Kind, job: Job, database: Database, settings: Settings, executor: Executor) -> None:
        self.kind = kind
        self.job = job
        self.folder: Path = kind.root(settings) / job.id
        self._database = database
        self._settings = settings
        self._executor = executor
        self._trainer: Trainer | None = None  # none has been started
        self._stop_requested_at: float | None = None
        self._killed_at: float | None = None
        self._abandoned = False
        self._interrupted = False
        self.failed = False  # the worker could not go on with it, and has ended it

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Whatever goes wrong with this job ends this job only; the worker and its other jobs go on.

        Raises LostClaim, and OperationalError: the database cannot be written, which concerns all jobs.
        """
        try:
            yield
        except (LostClaim, OperationalError):
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError) and not self.folder.exists():
                reason = {"code": "directory_missing", "message": "Its directory is missing.", "detail": None}
            else:
                log.exception("%s failed in the worker", self.job.id)
                reason = explain(error)
            self._signal(signal.SIGTERM)
            with self._database.write() as session:
                fail(session, self.kind, self.job, reason)
            self.failed = True

    def start(self, device: str) -> None:
        """Start a trainer for the job's new attempt."""
        assignment = self.kind.assignment(self.job, self.folder, self._settings, device)
        self._trainer = self._executor.begin(self.job, assignment)
        self._note_trainer(self._trainer)

    def adopt(self) -> None:
        """Look after the trainer that the worker before this one has started."""
        self._trainer = self._executor.adopt(self.job, self.folder)
        self._trainer.own()

    def renew(self) -> None:
        """Renew the lease. Raises LostClaim."""
        with self._database.write(durable=False) as session:
            guarded_update(session, self.job, **lease(self._settings.lease_seconds))
        if self._trainer is not None:
            self._trainer.own()

    def refresh(self) -> bool:
        """Read the row again, since a stop may have been requested. False once another worker has claimed the job.

        After a write was rolled back, this also resets `job` to the stored values.
        """
        with self._database.read() as session:
            row = session.get(self.kind.table, self.job.key)
        if row is None or row.claim != self.job.claim:
            return False
        self.job = row
        return True

    def _note_trainer(self, trainer: Trainer) -> None:
        """Write what the row does not say yet of the trainer and its checkpoints. Raises LostClaim."""
        if trainer.pid is not None and trainer.pid != self.job.pid:
            phase = "data" if self.job.phase == "claimed" else self.job.phase
            with self._database.write(durable=False) as session:
                guarded_update(session, self.job, pid=trainer.pid, phase=phase)
        if trainer.checkpoints_changed() and isinstance(self.job, Run):
            with self._database.write(durable=False) as session:
                match_checkpoints(session, self.job, self.folder)

    def release(self) -> None:
        """This worker is done with the job."""
        if self._trainer is not None:
            self._trainer.release()

    def follow(self, now: float) -> bool:
        """Ingest new events, stop the trainer if that was requested, reap it once it has exited.

        Returns True once the job is no longer this worker's.
        """
        done = False
        try:
            with self.guarded():
                if self._trainer is not None:
                    self._note_trainer(self._trainer)
                if self.job.status == Status.STOPPING:
                    self._stop(now)
                done = self.ingest() if is_behind(self.job, self.folder) else self._reap_if_exited(now)
        except LostClaim:
            return not self.refresh()
        if (done or self.failed) and self.job.status == Status.STOPPED:
            self.kind.free(self._settings, self.folder)
        return done or self.failed

    def ingest(self) -> bool:
        """Write one block of new events to the database. Returns True once the job has ended. Raises LostClaim."""
        with self._database.write(durable=False) as session:
            end = self.kind.ingest(session, self.job, self.folder)
            if end is not None:
                conclude(session, self.kind, self.job, end, self._settings.max_attempts)
        return end is not None

    def interrupt(self) -> None:
        """Ask the trainer to save and exit."""
        self._interrupted = True
        self._signal(signal.SIGTERM)

    def _stop(self, now: float) -> None:
        if self._stop_requested_at is None:
            self._stop_requested_at = now
            self.interrupt()
        elif self._killed_at is None:
            compiling = COMPILE_SECONDS if self.job.phase == "compile" else 0.0
            if now - self._stop_requested_at > self.kind.stop_seconds(self._settings) + compiling:
                log.warning("%s did not stop in time: killing it", self.job.id)
                self._killed_at = now
                self._signal(signal.SIGKILL)
        elif self.kind.is_left and not self._abandoned and now - self._killed_at > ABANDON_SECONDS:
            log.warning("the process of %s does not end, and is left: a disk may not respond", self.job.id)
            self._abandoned = True

    def _signal(self, number: signal.Signals) -> None:
        if self._trainer is not None:
            self._trainer.signal(number)

    def _reap_if_exited(self, now: float) -> bool:
        """Queue the job again, or end it, if its trainer has exited without an `end` event. Returns True if so."""
        trainer = self._trainer
        if trainer is not None and not trainer.has_exited(now, left=self._abandoned):
            return False
        if is_behind(self.job, self.folder):
            return False  # its last events were written during the checks above
        # Alive after all only where the lock was deleted with the directory: it must not go on unseen.
        self._signal(signal.SIGTERM)
        with self._database.write() as session:
            requeue_or_fail(
                session,
                self.kind,
                self.job,
                self.folder,
                self._settings.max_attempts,
                interrupted=self._interrupted or (trainer is not None and trainer.was_lost),
            )
        return True
