"""Reading and controlling runs. The run directory is written first, then the row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func
from sqlmodel import col, select

from app.errors import ApiError, not_found
from app.runs.names import Aliases
from app.runs.public import CheckpointPublic, LogLinePublic, RunPage, RunPublic, public, publish_run
from app.runs.query import RunQuery, active_rows, key_of, matching, queue_order, row_of, rows_by_id, rows_in_order
from app.runs.requests import ResumeRequest, RunPatch
from app.runs.run_fields import settings
from app.runs.script_rows import SILENT, is_silent
from app.settings import Settings
from app.storage.changes import current_seq, publish
from app.storage.db import Database
from app.storage.tables import ACTIVE, ENDED, Checkpoint, LogLine, Run, Source, Status, ValueName, now
from app.storage.transitions import move
from trainer.data.errors import DatasetError
from trainer.data.format import read_record
from trainer.rundir.folder import RunDir, is_committed
from trainer.rundir.hold import Hold, hold, release
from trainer.rundir.journal import journal
from trainer.rundir.spec import read_spec
from trainer.system.durable import remove_folder, set_aside, write_durably

LOG_LINES = 1000


class Runs:
    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.aliases = Aliases(settings.home)
        self._folder = settings.runs

    def get(self, run_id: str) -> RunPublic:
        with self.database.read() as session:
            seq = current_seq(session)
            return public(row_of(session, run_id), seq)

    def count(self) -> int:
        with self.database.read() as session:
            return session.exec(select(func.count()).select_from(Run)).one()

    def count_active(self) -> int:
        """Return the number of active runs of Trackside's trainer: those that queued runs wait for."""
        with self.database.read() as session:
            trained = col(Run.status).in_(ACTIVE), col(Run.source) == Source.TRACKSIDE
            return session.exec(select(func.count()).select_from(Run).where(*trained)).one()

    def active(self) -> list[RunPublic]:
        """Return the starting, running and stopping runs."""
        with self.database.read() as session:
            seq = current_seq(session)
            return [public(row, seq) for row in active_rows(session)]

    def metrics(self) -> list[str]:
        """Return the names of the metrics that the summary of any run has had."""
        with self.database.read() as session:
            return [name for name in session.exec(select(ValueName.name)).all() if name not in settings()]

    def queue(self, limit: int = 200) -> list[RunPublic]:
        """Return the queued runs in the order in which they will start."""
        with self.database.read() as session:
            seq = current_seq(session)
            rows = session.exec(
                select(Run).where(Run.status == Status.QUEUED).order_by(*queue_order()).limit(limit)
            ).all()
        return [public(row, seq) for row in rows]

    def queue_places(self) -> dict[str, int]:
        """The number of queued runs ahead of each queued run, by id."""
        with self.database.read() as session:
            ids = session.exec(select(Run.id).where(Run.status == Status.QUEUED).order_by(*queue_order())).all()
        return {run_id: index for index, run_id in enumerate(ids)}

    def latest_finished(self) -> RunPublic | None:
        with self.database.read() as session:
            row = session.exec(
                select(Run)
                .where(Run.status == Status.FINISHED, Run.source == Source.TRACKSIDE)
                .order_by(col(Run.finished_at).desc())
                .limit(1)
            ).first()
        return None if row is None else public(row)

    def patch(self, run_id: str, request: RunPatch) -> RunPublic:
        fields = request.model_dump(exclude_unset=True)
        with self.database.write() as session:
            row = row_of(session, run_id)
            self._journal(run_id, "meta", **fields)
            for name, value in fields.items():
                setattr(row, name, value)
            publish_run(session, row)
        return public(row)

    def delete(self, run_id: str) -> None:
        """Delete a run permanently. Raises ApiError 404; 409: it is active, or an alias is assigned to it."""
        with self.aliases.kept_unnamed(run_id), self.database.write() as session:
            row = row_of(session, run_id)
            if row.status in ACTIVE:
                raise ApiError(409, "run_active", f"The run is {row.status}: stop it first.")
            removed = set_aside(self.folder(run_id))
            session.delete(row)
            publish(session, run_id, "deleted", {"run": run_id})
        remove_folder(removed)
        remove_folder(self.settings.model_cache / run_id)

    def stop(self, run_id: str) -> RunPublic:
        with self.database.write() as session:
            row = row_of(session, run_id)
            if row.status not in (Status.QUEUED, Status.STARTING, Status.RUNNING):
                raise ApiError(409, "not_running", f"The run is {row.status}: there is nothing to stop.")
            self._journal(run_id, "stop", attempt=row.attempt)
            if row.source == Source.SCRIPT and is_silent(self.folder(run_id), self.settings.silent_seconds):
                # Nobody is there to stop it. If it is heard again, it is asked to stop.
                move(session, row, Status.STOPPED, finished_at=now(), phase=SILENT)
            elif row.status == Status.QUEUED:
                move(session, row, Status.STOPPED, finished_at=now())
            else:
                move(session, row, Status.STOPPING)
            publish_run(session, row)
        return public(row)

    def finish_early(self, run_id: str) -> RunPublic:
        """Ask the run to anneal over a few epochs, then test. The trainer polls for the file; no worker is needed.

        Raises ApiError 404; 409: the run is not starting or running.
        """
        with self.database.read() as session:
            row = row_of(session, run_id)
        _check_trained_here(row)
        if row.status not in (Status.STARTING, Status.RUNNING):
            raise ApiError(409, "not_running", f"The run is {row.status}: there is nothing to wind down.")
        self._journal(run_id, "wind-down")
        write_durably(RunDir(self.folder(run_id)).finish_early, b"")
        return public(row)

    def resume(self, run_id: str, request: ResumeRequest, held: Hold | None = None) -> RunPublic:
        """Queue an ended run again. It trains to its end, or stops again where it is `held`.

        Raises ApiError 404; 409: its state or its dataset does not allow it.
        """
        with self.database.write() as session:
            row = row_of(session, run_id)
            _check_trained_here(row)
            if row.status not in ENDED:
                raise ApiError(409, "not_ended", f"The run is {row.status}: there is nothing to resume.")
            if row.status == Status.FINISHED and not request.extend_epochs:
                raise ApiError(409, "finished", "The run has finished: say by how many epochs to extend it.")
            self._check_dataset(row)
            extension = request.extension
            words = {"extend_epochs": request.extend_epochs, "extension": extension, "attempt": row.attempt}
            self._journal(run_id, "resume", **words)
            asked = RunDir(self.folder(run_id))
            for left in (asked.finish_early, asked.pause):  # the run ended before it saw them
                left.unlink(missing_ok=True)
            if held is None:
                release(asked.path)
            else:
                hold(asked.path, held)
            move(session, row, Status.QUEUED, deaths=0, error=None, finished_at=None, phase=None)
            publish_run(session, row)
        return public(row)

    def _check_dataset(self, row: Run) -> None:
        """Raise ApiError 409 if the run's dataset was deleted or replaced: its trainer would fail, and the run with it.

        Under the write lock, which is held for a deletion too. A rename that was interrupted is journaled here.
        """
        try:
            same = read_record(self.settings.datasets, row.dataset).sha256
        except DatasetError as error:
            raise ApiError(409, error.code, f"The run cannot be resumed. {error.message}") from None
        wanted = row.spec["dataset"].get("sha256")
        if wanted and wanted != same:
            message = f"The run cannot be resumed: the dataset {row.dataset} has been replaced since it was queued."
            raise ApiError(409, "dataset_changed", message)
        with suppress(OSError, ValueError):
            if read_spec(self.folder(row.id)).dataset.name != row.dataset:
                self._journal(row.id, "meta", dataset=row.dataset)

    def log(self, run_id: str, after: int = 0, limit: int = LOG_LINES) -> list[LogLinePublic]:
        with self.database.read() as session:
            row = row_of(session, run_id)
            lines = session.exec(
                select(LogLine)
                .where(LogLine.run == row.key, col(LogLine.key) > after)
                .order_by(col(LogLine.key).desc() if not after else col(LogLine.key))
                .limit(limit)
            ).all()
        ordered = sorted(lines, key=lambda line: line.key or 0)
        return [LogLinePublic.model_validate(line, from_attributes=True) for line in ordered]

    def log_text(self, run_id: str) -> Iterator[str]:
        """Yield all lines of the log in blocks, each line with its time in UTC."""
        reached = 0
        while True:
            with self.database.read() as session:
                query = select(LogLine).where(LogLine.run == key_of(session, run_id), col(LogLine.key) > reached)
                lines = session.exec(query.order_by(col(LogLine.key)).limit(LOG_LINES)).all()
            if not lines:
                return
            reached = lines[-1].key or 0
            yield "".join(
                f"{datetime.fromtimestamp(line.time, UTC):%Y-%m-%dT%H:%M:%SZ} {line.line}\n" for line in lines
            )

    def checkpoints(self, run_id: str) -> list[CheckpointPublic]:
        with self.database.read() as session:
            row = row_of(session, run_id)
            rows = session.exec(
                select(Checkpoint).where(Checkpoint.run == row.key).order_by(col(Checkpoint.step))
            ).all()
        present = [item for item in rows if self._weights(run_id, item.step).exists()]
        best = max((item.step for item in present if item.best), default=None)
        last = max((item.step for item in present), default=None)
        return [
            CheckpointPublic(**item.model_dump(exclude={"best"}), best=item.step == best, last=item.step == last)
            for item in present
        ]

    def answering_checkpoint(self, run_id: str) -> CheckpointPublic | None:
        """Return the checkpoint used for predictions: the best, else the last; None if there is none yet."""
        listed = self.checkpoints(run_id)
        return next((item for item in listed if item.best), listed[-1] if listed else None)

    def checkpoint_file(self, run_id: str, step: int) -> Path:
        if step not in {item.step for item in self.checkpoints(run_id)}:
            raise not_found("checkpoint of step", str(step))
        return self._weights(run_id, step)

    def folder(self, run_id: str) -> Path:
        return self.settings.runs / run_id

    def _journal(self, run_id: str, kind: str, **fields: Any) -> None:
        """Raises ApiError 409: the run's directory was deleted by hand, or its disk is not mounted."""
        try:
            journal(self.folder(run_id), kind, **fields)
        except FileNotFoundError:
            message = "The run's directory is missing: the run can only be deleted."
            raise ApiError(409, "directory_missing", message) from None

    def is_kept(self, run_id: str) -> bool:
        """Whether the run's directory is committed. A query of the database takes a hundred times as long."""
        return is_committed(self._folder, run_id)

    def names(self, ids: Collection[str]) -> dict[str, str]:
        """The names of those of the runs that exist, by id."""
        with self.database.read() as session:
            return dict(session.exec(select(Run.id, Run.name).where(col(Run.id).in_(ids))).all())

    def some(self, ids: Sequence[str]) -> dict[str, RunPublic]:
        """Return those of the runs that exist, by id, in the order of `ids`."""
        with self.database.read() as session:
            seq = current_seq(session)
            found = {row.id: public(row, seq) for row in rows_by_id(session, ids)}
        return {run_id: found[run_id] for run_id in ids if run_id in found}

    def exists(self, run_id: str) -> None:
        with self.database.read() as session:
            row_of(session, run_id)

    def _weights(self, run_id: str, step: int) -> Path:
        return RunDir(self.folder(run_id)).weights(step)

    def list(self, query: RunQuery) -> RunPage:
        with self.database.read() as session:
            seq = current_seq(session)
            found = session.connection().execute(matching(query).limit(query.limit + 1)).all()
            rows = rows_in_order(session, [key for key, _ in found[: query.limit]])
        last = found[query.limit - 1] if len(found) > query.limit else None
        cursor = None if last is None else query.cursor_after(last[1], last[0])
        return RunPage(items=[public(row, seq) for row in rows], next_cursor=cursor)


def _check_trained_here(row: Run) -> None:
    """Raises ApiError 409: it is a script's run."""
    if row.source == Source.SCRIPT:
        message = "This run is a script's: only the script can continue it."
        raise ApiError(409, "script_run", message)
