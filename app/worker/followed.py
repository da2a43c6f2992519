"""The script runs that this worker follows: it reads what their clients send, and starts and signals nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlmodel import col

from app.diagnosis.script_findings import Judged, judge_if_due
from app.jobs.script_claims import claim, held_row, release, renew, unclaimed
from app.jobs.script_end import conclude_script, fail_script, note_read, note_silence
from app.jobs.script_ingest import BLOCK_BYTES, SHORT_BLOCK_BYTES, ingest_script, record_of
from app.jobs.tail import is_behind, tail_of
from app.runs.script_rows import is_silent
from app.runs.values import put_script_values
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ACTIVE, Run
from app.storage.transitions import LostClaim
from trainer.rundir.events import Position, next_position
from trainer.rundir.folder import RunDir

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1  # between two looks for new runs
REST_SECONDS = 1.0  # between two looks at what changes rarely: silence, attempts, lost claims
VALUES_SECONDS = 5.0  # between two updates of what the list of runs is searched by
TURN_SECONDS = 0.1  # per tick for all runs; those that were not reached come first in the next one
MOST_WAIT = 60.0  # between two tries of a run that cannot be read
MISSING = {"code": "directory_missing", "message": "Its directory is missing.", "detail": None}


@dataclass
class Followed:
    """A run under this worker's claim. `offset` and `attempt` are as of its last transaction, to look at no row."""

    key: int
    id: str
    claim: int
    folder: Path
    tail: Position
    attempt: int
    phase: str | None
    status: str
    values_due: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    turn: int = 0
    judged: Judged = field(default_factory=Judged)

    def take(self, row: Run) -> None:
        self.tail, self.attempt, self.phase, self.status = tail_of(row), row.attempt, row.phase, row.status

    def has_news(self) -> bool:
        """Whether there may be events to read: cheap, since it is asked fifty times per second."""
        if self.attempt > self.tail.attempt:
            return True
        try:
            return RunDir(self.folder).events(self.tail.attempt).stat().st_size > self.tail.offset
        except FileNotFoundError:
            return not self.folder.exists()


class FollowedRuns:
    """`tick` reads a block of each run's new events. A run that cannot be read is tried again later, more rarely."""

    def __init__(self, settings: Settings, database: Database, worker: str) -> None:
        self._settings = settings
        self._database = database
        self._worker = worker
        self.held: dict[int, Followed] = {}
        self._look_at = 0.0
        self._rest_at = 0.0
        self._ticks = 0

    def tick(self, now: float, *, changed: bool) -> None:
        if (changed and now >= self._look_at) or now >= self._look_at + REST_SECONDS:
            self._look_at = now + LOOK_SECONDS
            self._claim_all()
        if now >= self._rest_at:
            self._rest_at = now + REST_SECONDS
            self.refresh()
            for run in list(self.held.values()):
                self._guarded(run, now, self._look_after)
        self._follow_all(now)

    def renew(self) -> None:
        if self.held:
            with self._database.write(durable=False) as session:
                renew(session, self.held.keys(), self._worker, self._settings.lease_seconds)

    def refresh(self) -> None:
        """Read again what others may have changed: attempts and statuses; drop the runs that others have claimed."""
        if not self.held:
            return
        with self._database.read() as session:
            columns = col(Run.key), col(Run.claim), col(Run.attempt), col(Run.status), col(Run.phase)
            statement = select(*columns).where(col(Run.key).in_(self.held))
            rows = {row[0]: row for row in session.connection().execute(statement).all()}
        for key, run in list(self.held.items()):
            row = rows.get(key)
            if row is None or row[1] != run.claim:
                del self.held[key]
            else:
                _, _, run.attempt, run.status, run.phase = row

    def close(self) -> None:
        """Leave the runs to other workers."""
        if self.held:
            with self._database.write(durable=False) as session:
                release(session, self.held.keys(), self._worker)
            self.held.clear()

    def _claim_all(self) -> None:
        with self._database.read() as session:
            keys = unclaimed(session, self._worker, self.held)
        for key in keys:
            with self._database.write() as session:
                row = claim(session, key, self._worker, self._settings.lease_seconds)
            if row is not None:
                folder = self._settings.runs / row.id
                run = Followed(key, row.id, row.claim, folder, tail_of(row), row.attempt, row.phase, row.status)
                self.held[key] = run

    def _follow_all(self, now: float) -> None:
        """Read the runs that have waited longest first, until the time of this tick is over."""
        self._ticks += 1
        began = time.monotonic()
        due = [run for run in self.held.values() if now >= run.retry_at and run.has_news()]
        for run in sorted(due, key=lambda run: run.turn):
            run.turn = self._ticks
            self._guarded(run, now, self._read)
            if time.monotonic() - began > TURN_SECONDS:
                return

    def _read(self, run: Followed, now: float) -> None:
        """Write one block of new events to the database."""
        if next_position(run.folder, run.tail) is None:
            if not run.folder.exists():
                raise FileNotFoundError(run.folder)
            return
        with self._database.write(durable=False) as session:
            row = held_row(session, run.key, run.claim)
            record = record_of(session, row)
            end = ingest_script(session, row, record, run.folder, self._block_bytes)
            if end is not None:
                conclude_script(session, row, end)
            judge_if_due(session, row, record, run.judged)
            if end is not None or now >= run.values_due:
                put_script_values(session, row, record.config)
                run.values_due = now + VALUES_SECONDS
        run.take(row)
        run.failures = 0

    @property
    def _block_bytes(self) -> int:
        return BLOCK_BYTES if len(self.held) == 1 else SHORT_BLOCK_BYTES

    def _look_after(self, run: Followed, _now: float) -> None:
        """Note a client's silence, and let go of a run that has ended and was read to its end."""
        if next_position(run.folder, run.tail) is not None:
            return
        if run.status in ACTIVE:
            silent = is_silent(run.folder, self._settings.silent_seconds)
            if silent or run.phase is not None:
                with self._database.write(durable=False) as session:
                    row = held_row(session, run.key, run.claim)
                    note_silence(session, row, silent=silent)
                run.take(row)
            return
        with self._database.write(durable=False) as session:
            row = held_row(session, run.key, run.claim)
            # Under the write lock: who appends later finds the run ended, and wakes a worker.
            if is_behind(row, run.folder):
                return
            note_read(session, row)
            put_script_values(session, row, record_of(session, row).config)
            release(session, [run.key], self._worker)
        del self.held[run.key]

    def _guarded(self, run: Followed, now: float, act: Callable[[Followed, float], None]) -> None:
        """Whatever goes wrong with a run concerns this run only.

        Raises OperationalError: the database cannot be written, which concerns all runs.
        """
        try:
            act(run, now)
        except LostClaim:
            self.held.pop(run.key, None)
        except OperationalError:
            raise
        except Exception:
            if not run.folder.exists():
                self._give_up(run)
                return
            run.failures += 1
            run.retry_at = now + min(MOST_WAIT, 2.0**run.failures)
            log.exception("the events of %s could not be read: trying again later", run.id)

    def _give_up(self, run: Followed) -> None:
        with self._database.write() as session:
            row = session.get(Run, run.key)
            if row is not None and row.claim == run.claim:
                fail_script(session, row, MISSING)
                release(session, [run.key], self._worker)
        self.held.pop(run.key, None)
