"""The order of the queue: moving queued runs, and pausing a running one for them."""

from __future__ import annotations

from typing import Literal

from sqlmodel import Session, select

from app.errors import ApiError, not_found
from app.host.workers import largest_pool, seen_workers
from app.runs.public import RunPublic, public, publish_run
from app.runs.query import active_rows, queue_order
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run, Status
from trainer.rundir.folder import RunDir
from trainer.rundir.journal import journal
from trainer.system.durable import write_durably

Move = Literal["next", "up", "down", "last", "now"]


class Queue:
    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def move(self, run_id: str, to: Move) -> RunPublic:
        """Move a queued run: "next" or "last" to an end, "up" or "down" by one place, "now" in place of a running one.

        For "now", the last running run is asked to save and queue again; for a run on several devices, as many of the
        last ones as have its devices. Raises ApiError 404; 409: it is not queued.
        """
        pool = largest_pool(seen_workers(self.database)) if to == "now" else frozenset[str]()
        with self.database.write() as session:
            queued = session.exec(select(Run.id).where(Run.status == Status.QUEUED).order_by(*queue_order())).all()
            if run_id not in queued:
                raise self._not_queued(session, run_id)
            at = queued.index(run_id)

            def row_at(place: int) -> Run:
                return session.exec(select(Run).where(Run.id == queued[place])).one()

            row = row_at(at)
            match to:
                case "up" if at > 0:
                    self._swap(row, row_at(at - 1))
                case "down" if at + 1 < len(queued):
                    self._swap(row, row_at(at + 1))
                case "last":
                    last = row_at(-1)
                    if last is not row:
                        self._put(row, last.priority, last.place + 0.001)  # less than a run that is queued after this
                case "next":
                    self._put_before(row, [row_at(0)])
                case "now":
                    active = list(active_rows(session))
                    self._put_before(row, [row_at(0), *active])
                    if row.devices > 1:
                        active = [run for run in active if run.device in pool]
                    idle = max(0, len(pool) - sum(run.devices for run in active))
                    self._pause_last(session, active, devices=row.devices - idle)
            publish_run(session, row)
        return public(row)

    def _swap(self, row: Run, other: Run) -> None:
        mine, theirs = (row.priority, row.place), (other.priority, other.place)
        self._put(row, *theirs)
        self._put(other, *mine)

    def _put_before(self, row: Run, others: list[Run]) -> None:
        first = min(others, key=lambda other: (-other.priority, other.place))
        if first is not row:
            self._put(row, first.priority, first.place - 1)

    def _put(self, row: Run, priority: int, place: float) -> None:
        row.priority, row.place = priority, place
        journal(self.settings.runs / row.id, "meta", priority=priority, place=place)

    def _pause_last(self, session: Session, active: list[Run], devices: int) -> None:
        """Ask the last running runs in queue order, one at least, to save and queue again, until they have `devices`.

        Their trainers poll for the `pause` file.
        """
        running = [row for row in active if row.status == Status.RUNNING]
        free = 0
        for run in sorted(running, key=lambda other: (-other.priority, other.place), reverse=True):
            write_durably(RunDir(self.settings.runs / run.id).pause, b"")
            publish_run(session, run)
            free += run.devices
            if free >= devices:
                return

    def _not_queued(self, session: Session, run_id: str) -> ApiError:
        status = session.exec(select(Run.status).where(Run.id == run_id)).first()
        if status is None:
            return not_found("run", run_id)
        return ApiError(409, "not_queued", f"The run is {status}: only a queued one can be moved.")
