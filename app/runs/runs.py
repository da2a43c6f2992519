"""Runs as people see and steer them. The run directory is written first, the row after it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from pathlib import Path

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.errors import ApiError, not_found
from app.runs.names import Aliases
from app.runs.naming import changes, default_name
from app.runs.permissions import permitted
from app.runs.public import CheckpointPublic, LogLinePublic, RunPage, RunPublic, public
from app.runs.query import RunQuery, matching, queue_order
from app.runs.requests import CloneRequest, NewRun, ResumeRequest, RunPatch
from app.settings import Settings
from app.storage.changes import current_seq, publish
from app.storage.db import Database
from app.storage.tables import ACTIVE, ENDED, Checkpoint, LogLine, Run, Status, now
from app.storage.transitions import move
from trainer.data.errors import DatasetMissing
from trainer.data.format import read_record
from trainer.plan.feasibility import refuse_impossible
from trainer.plan.schedule import make_plan, split_sizes
from trainer.rundir.folder import WIND_DOWN_FILE, create_run_dir
from trainer.rundir.journal import journal
from trainer.spec.preset import SpecError, apply_overrides, build_spec, differences
from trainer.spec.train_spec import TrainSpec
from trainer.system.durable import write_durably

LOG_LINES = 1000
_ID = re.compile(r"[0-9a-z]{1,40}")


class Runs:
    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.aliases = Aliases(settings.home)

    def create(self, request: NewRun, idempotency_key: str | None = None) -> RunPublic:
        """Queue a run. Raises SpecError; ApiError 409 when the key was used for another request."""
        body = hashlib.sha256(json.dumps(request.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
        if idempotency_key is not None and (known := self._by_key(idempotency_key, body)) is not None:
            return known
        spec = self.examine(request)
        base = build_spec(request.dataset, request.preset)
        row = Run(
            id=secrets.token_hex(5),
            name=request.name or default_name(spec, base),
            dataset=request.dataset,
            preset=request.preset,
            model=spec.model.name,
            spec=spec.model_dump(mode="json"),
            changed=changes(spec, base),
            group=request.group,
            tags=request.tags,
            expectation=request.expectation,
            priority=request.priority,
            idempotency_key=idempotency_key,
            idempotency_body=body if idempotency_key else None,
        )
        return self._enqueue(row, spec)

    def examine(self, request: NewRun) -> TrainSpec:
        """The spec that would be queued. Raises SpecError."""
        return self._pinned(build_spec(request.dataset, request.preset, request.overrides))

    def clone(self, run_id: str, request: CloneRequest) -> RunPublic:
        """Queue a new run with the spec of another, changed, from scratch or from one of its checkpoints' weights."""
        with self.database.read() as session:
            parent = self._row(session, run_id)
        base = TrainSpec.model_validate(parent.spec)
        values = base.model_dump(mode="json") | {"dataset": {"name": parent.dataset}}
        spec = self._pinned(apply_overrides(values, request.overrides))
        weights = None
        if request.from_step is not None:
            weights = self.checkpoint_file(run_id, request.from_step).read_bytes()
            changed = {"model.name", "model.widths", "target"} & differences(spec, base).keys()
            if changed:
                reason = "the checkpoint's weights fit only the network they were trained in"
                raise SpecError({f"overrides.{field}": reason for field in changed})
        row = Run(
            id=secrets.token_hex(5),
            name=request.name or (default_name(spec, base, parent.name) if request.overrides else parent.name),
            dataset=parent.dataset,
            preset=parent.preset,
            model=spec.model.name,
            spec=spec.model_dump(mode="json"),
            changed=changes(spec, base),
            group=parent.group,
            parent=parent.id,
            parent_step=request.from_step,
            tags=parent.tags,
        )
        return self._enqueue(row, spec, weights)

    def get(self, run_id: str) -> RunPublic:
        with self.database.read() as session:
            seq = current_seq(session)
            return public(self._row(session, run_id), seq)

    def count(self) -> int:
        with self.database.read() as session:
            return session.exec(select(func.count()).select_from(Run)).one()

    def queue(self) -> list[RunPublic]:
        """Waiting runs in the order in which they will start."""
        with self.database.read() as session:
            seq = current_seq(session)
            rows = session.exec(
                select(Run).where(Run.status == Status.QUEUED).order_by(*queue_order()).limit(200)
            ).all()
        return [public(row, seq) for row in rows]

    def latest_finished(self) -> RunPublic | None:
        with self.database.read() as session:
            row = session.exec(
                select(Run).where(Run.status == Status.FINISHED).order_by(col(Run.finished_at).desc()).limit(1)
            ).first()
        return None if row is None else public(row)

    def patch(self, run_id: str, request: RunPatch) -> RunPublic:
        fields = request.model_dump(exclude_unset=True)
        with self.database.write() as session:
            row = self._row(session, run_id)
            journal(self.folder(run_id), "meta", **fields)
            for name, value in fields.items():
                setattr(row, name, value)
            self.tell(session, row)
        return public(row)

    def delete(self, run_id: str) -> None:
        """Take a run away for good. Raises ApiError 409 while it runs, or is a model by name."""
        with self.aliases.kept_unnamed(run_id), self.database.write() as session:
            row = self._row(session, run_id)
            if row.status in ACTIVE:
                raise ApiError(409, "run_active", f"The run is {row.status}: stop it first.")
            folder = self.folder(run_id)
            doomed = folder.with_name(f".deleted-{run_id}")
            if folder.exists():
                folder.rename(doomed)
            session.delete(row)
            publish(session, run_id, "deleted", {"run": run_id})
        shutil.rmtree(doomed, ignore_errors=True)
        shutil.rmtree(self.settings.model_cache / run_id, ignore_errors=True)

    def stop(self, run_id: str) -> RunPublic:
        with self.database.write() as session:
            row = self._row(session, run_id)
            if row.status not in (Status.QUEUED, Status.STARTING, Status.RUNNING):
                raise ApiError(409, "not_running", f"The run is {row.status}: there is nothing to stop.")
            journal(self.folder(run_id), "stop")
            if row.status == Status.QUEUED:
                move(session, row, Status.STOPPED, finished_at=now())
            else:
                move(session, row, Status.STOPPING)
            self.tell(session, row)
        return public(row)

    def wind_down(self, run_id: str) -> RunPublic:
        """Have the run anneal over a few epochs, then test. The trainer looks for the file; no worker is needed."""
        with self.database.read() as session:
            row = self._row(session, run_id)
        if row.status not in (Status.STARTING, Status.RUNNING):
            raise ApiError(409, "not_running", f"The run is {row.status}: there is nothing to wind down.")
        journal(self.folder(run_id), "wind-down")
        write_durably(self.folder(run_id) / WIND_DOWN_FILE, b"")
        return public(row)

    def resume(self, run_id: str, request: ResumeRequest) -> RunPublic:
        with self.database.write() as session:
            row = self._row(session, run_id)
            if row.status not in ENDED:
                raise ApiError(409, "not_ended", f"The run is {row.status}: there is nothing to resume.")
            if row.status == Status.FINISHED and not request.extend_epochs:
                raise ApiError(409, "finished", "The run has finished: say by how many epochs to extend it.")
            extension = request.extension
            words = {"extend_epochs": request.extend_epochs, "extension": extension, "attempt": row.attempt}
            journal(self.folder(run_id), "resume", **words)
            (self.folder(run_id) / WIND_DOWN_FILE).unlink(missing_ok=True)
            move(session, row, Status.QUEUED, deaths=0, error=None, finished_at=None, phase=None)
            self.tell(session, row)
        return public(row)

    def log(self, run_id: str, after: int = 0, limit: int = LOG_LINES) -> list[LogLinePublic]:
        with self.database.read() as session:
            row = self._row(session, run_id)
            lines = session.exec(
                select(LogLine)
                .where(LogLine.run == row.key, col(LogLine.key) > after)
                .order_by(col(LogLine.key).desc() if not after else col(LogLine.key))
                .limit(limit)
            ).all()
        ordered = sorted(lines, key=lambda line: line.key or 0)
        return [LogLinePublic.model_validate(line, from_attributes=True) for line in ordered]

    def checkpoints(self, run_id: str) -> list[CheckpointPublic]:
        with self.database.read() as session:
            row = self._row(session, run_id)
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

    def checkpoint_file(self, run_id: str, step: int) -> Path:
        if step not in {item.step for item in self.checkpoints(run_id)}:
            raise not_found("checkpoint of step", str(step))
        return self._weights(run_id, step)

    def folder(self, run_id: str) -> Path:
        return self.settings.runs / run_id

    def is_kept(self, run_id: str) -> bool:
        """Whether there is such a run, by its directory: three microseconds where the database takes three hundred."""
        return _ID.fullmatch(run_id) is not None and (self.folder(run_id) / "committed").exists()

    def exists(self, run_id: str) -> None:
        with self.database.read() as session:
            self._row(session, run_id)

    def _weights(self, run_id: str, step: int) -> Path:
        return self.folder(run_id) / "checkpoints" / f"{step:08d}.safetensors"

    def _by_key(self, key: str, body: str | None) -> RunPublic | None:
        with self.database.read() as session:
            row = session.exec(select(Run).where(Run.idempotency_key == key)).first()
        if row is None:
            return None
        if row.idempotency_body != body:
            raise ApiError(409, "idempotency_conflict", "This Idempotency-Key was used for a different request.")
        return public(row)

    def _pinned(self, spec: TrainSpec) -> TrainSpec:
        """The spec with its data set's hashes, refused where the two cannot go together."""
        try:
            record = read_record(self.settings.datasets, spec.dataset.name)
        except DatasetMissing:
            raise SpecError({"dataset": f"There is no data set called {spec.dataset.name!r}."}) from None
        refuse_impossible(spec, record)
        spec = permitted(spec, self.settings)
        dataset = spec.dataset.model_copy(update={"sha256": record.sha256})
        return spec.model_copy(update={"dataset": dataset})

    def _enqueue(self, row: Run, spec: TrainSpec, weights: bytes | None = None) -> RunPublic:
        record = read_record(self.settings.datasets, spec.dataset.name)
        plan = make_plan(spec, split_sizes(spec, record.train_count)[0])
        row.epochs, row.total_steps, row.steps_per_epoch = plan.epochs, plan.total_steps, plan.steps_per_epoch
        meta = row.model_dump(
            mode="json",
            include={
                "name", "group", "tags", "expectation", "priority", "parent", "parent_step", "created_at", "changed",
                "idempotency_key", "idempotency_body",
            },
        )  # fmt: skip
        create_run_dir(self.folder(row.id), spec, record, meta, weights)
        with self.database.write() as session:
            # Two requests with one key may have come at once: under the write lock the second sees the first.
            known = None if row.idempotency_key is None else self._by_key(row.idempotency_key, row.idempotency_body)
            if known is None:
                newest = session.exec(select(Run.place).order_by(col(Run.key).desc()).limit(1)).first()
                row.place = max(row.place, newest or row.place)  # the clock may have been set back
                session.add(row)
                session.flush()
                self.tell(session, row, "created")
        if known is not None:
            shutil.rmtree(self.folder(row.id))
            return known
        return public(row)

    def _row(self, session: Session, run_id: str) -> Run:
        row = session.exec(select(Run).where(Run.id == run_id)).first()
        if row is None:
            raise not_found("run", run_id)
        return row

    def tell(self, session: Session, row: Run, kind: str = "status") -> None:
        publish(session, row.id, kind, public(row).live())

    def list(self, query: RunQuery) -> RunPage:
        with self.database.read() as session:
            seq = current_seq(session)
            rows = session.exec(matching(query).limit(query.limit + 1)).all()
        items = [public(row, seq) for row, _ in rows[: query.limit]]
        more = len(rows) > query.limit
        last = rows[query.limit - 1] if more else None
        return RunPage(items=items, next_cursor=None if last is None else query.cursor_after(last[1], last[0].key))
