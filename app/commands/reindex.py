"""Rebuild the database from the run directories, which are authoritative, by the same ingest as the worker's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from app.diagnosis.script_findings import Judged, judge_if_due
from app.host.devices import find_devices
from app.host.home_lock import home_lock
from app.host.identity import host_name
from app.jobs.derived_status import EventSummary, derive_status, summarize_events
from app.jobs.kinds import KINDS, RUN, TASK, Kind
from app.jobs.script_end import conclude_script
from app.jobs.script_ingest import ingest_script
from app.jobs.tail import is_behind, tail_of
from app.runs.requests import RunPatch
from app.runs.script_rows import new_row
from app.runs.values import add_values, put_script_values
from app.settings import Settings
from app.storage.db import Database
from app.storage.ownership import take_ownership
from app.storage.tables import ACTIVE, Checkpoint, Job, Run, ScriptRecord, Status, Task
from app.storage.transitions import guarded_update, move
from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord
from trainer.data.splits import validation_counts
from trainer.exported.labels import own_record
from trainer.plan.schedule import make_plan
from trainer.rundir.events import attempts
from trainer.rundir.folder import JobDir, RunDir, TaskDir
from trainer.rundir.journal import read_journal
from trainer.rundir.lock import lock_holder
from trainer.rundir.spec import read_spec
from trainer.spec.tasks import request_of_file
from trainer.spec.train_spec import TrainSpec

JOURNALED = (
    "group", "parent", "parent_step", "priority", "changed", "idempotency_key", "idempotency_body", "search", "trial",
    "params",
)  # fmt: skip


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Indexed:
    """A directory that was added with `status`, or was skipped for `reason`."""

    folder: Path
    status: Status | None
    reason: str = ""
    damaged: bool = False


def reindex(settings: Settings, *, from_nothing: bool = False) -> Iterator[Indexed]:
    """Add every committed run and task that the database does not have; `from_nothing` empties it first.

    Raises HomeInUse, UnusableDatabase.
    """
    with home_lock(settings.home), closing(Database(settings.url)) as database:
        if from_nothing:
            database.clear()
        database.migrate()
        take_ownership(database, settings.home)
        for kind in KINDS:
            with database.read() as session:
                known = set(session.exec(select(kind.table.id)).all())
            fresh = [path for path in kind.root(settings).glob("*") if path.is_dir() and path.name not in known]
            for folder in sorted(fresh, key=created_at):
                yield add(database, kind, folder, settings.datasets)


def created_at(folder: Path) -> datetime:
    for line in read_journal(folder):
        with suppress(ValueError, TypeError):  # not a time: the journal is damaged
            if line.get("created_at"):
                return datetime.fromisoformat(line["created_at"])
    written = next((path for path in (TaskDir(folder).request, RunDir(folder).spec) if path.exists()), folder)
    return datetime.fromtimestamp(written.stat().st_mtime, UTC)


def add(database: Database, kind: Kind, folder: Path, datasets: Path) -> Indexed:
    """Add one directory's rows in one transaction: no worker claims, and no crash leaves, a half-read run."""
    if folder.name.startswith("."):
        return Indexed(folder, None, "it was being deleted")
    if not JobDir(folder).committed.exists():
        return Indexed(folder, None, "it was never committed")
    try:
        with database.write() as session:
            if kind is TASK:
                status = add_task(session, folder)
            elif RunDir(folder).script.exists():
                status = add_script_run(session, folder)
            else:
                status = add_run(session, folder, datasets)
    except Exception as error:  # whatever one directory holds, the others are still to be added
        log.debug("%s was not indexed", folder, exc_info=error)
        reason = f"{type(error).__name__}: {error}"
        return Indexed(folder, None, " ".join(reason.split())[:300], damaged=True)
    return Indexed(folder, status)


def add_run(session: Session, folder: Path, datasets: Path) -> Status:
    run = run_row(folder, datasets)
    key = run.idempotency_key
    if key is not None and session.exec(select(Run.key).where(Run.idempotency_key == key)).first() is not None:
        # The web process was killed before it could acknowledge the first of the two: both are kept.
        run.idempotency_key = run.idempotency_body = None
    session.add(run)
    session.flush()
    add_values(session, run)
    alive = catch_up(session, RUN, run, folder)
    summary = summarize_events(folder, tail_of(run))
    for step, time in summary.saved.items():
        of_step = (col(Checkpoint.run) == run.key, col(Checkpoint.step) == step)
        session.exec(update(Checkpoint).where(*of_step).values(created_at=time))
    return settle(session, run, folder, summary, alive=alive)


def add_script_run(session: Session, folder: Path) -> Status:
    """Add a run of a script. One that was asked to stop, or is silent, is noticed by the worker that follows it."""
    run = new_row(folder)
    session.add(run)
    session.flush()
    record = ScriptRecord(run=run.key or 0)
    end = None
    while is_behind(run, folder):
        end = ingest_script(session, run, record, folder) or end
    put_script_values(session, run, record.config)
    stops = [line for line in read_journal(folder) if line.get("e") == "stop"]
    if end is not None:
        conclude_script(session, run, end)
    judge_if_due(session, run, record, Judged())
    if end is None and stops and stops[-1].get("attempt") == run.attempt:
        move(session, run, Status.STOPPING)
    return Status(run.status)


def add_task(session: Session, folder: Path) -> Status:
    kind, request = request_of_file(TaskDir(folder).request.read_bytes())
    task = Task(
        id=folder.name,
        kind=kind,
        request=request,
        created_at=created_at(folder),
        attempt=max(attempts(folder), default=0),
    )
    session.add(task)
    session.flush()
    alive = catch_up(session, TASK, task, folder)
    summary = summarize_events(folder, tail_of(task))
    guarded_update(session, task, result=summary.end.get("result") if summary.end else None)
    return settle(session, task, folder, summary, alive=alive)


def run_row(folder: Path, datasets: Path) -> Run:
    """The row as it was when the run was queued, with the changes that users have made since."""
    spec = read_spec(folder)
    meta: dict[str, Any] = {}
    for line in read_journal(folder):
        if line.get("e") == "meta":
            meta |= line
    plan = make_plan(spec, trained_images(spec, own_record(folder), datasets))
    return Run(
        id=folder.name,
        dataset=spec.dataset.name,
        preset=spec.preset,
        model=spec.model.name,
        spec=spec.model_dump(mode="json"),
        devices=spec.devices,
        created_at=created_at(folder),
        attempt=max(attempts(folder), default=0),
        epochs=plan.epochs,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        **{name: meta[name] for name in JOURNALED if name in meta},
        **{name: meta[name] for name in RunPatch.model_fields if name in meta and name != "name"},
        place=meta.get("place", created_at(folder).timestamp()),
        name=meta.get("name") or folder.name,
    )


def trained_images(spec: TrainSpec, record: DatasetRecord, datasets: Path) -> int:
    """The images that a run is planned with: approximate without its dataset. A trainer's start event corrects it."""
    try:
        held_out = validation_counts(spec, record, datasets).held_out
    except DatasetError:
        held_out = 0 if record.val_count else round(record.train_count * spec.held_out_share)
    return record.train_count - held_out


def catch_up(session: Session, kind: Kind, job: Job, folder: Path) -> bool:
    """Ingest all events and return whether a trainer still holds the lock.

    A trainer may write its last events just before it exits: the files are checked again after the lock is found free.
    """
    while True:
        while is_behind(job, folder):
            kind.ingest(session, job, folder)
        alive = lock_holder(folder) is not None
        if alive or not is_behind(job, folder):
            return alive


def settle(session: Session, job: Job, folder: Path, summary: EventSummary, *, alive: bool) -> Status:
    """Set the job's status. A job whose trainer is alive is left for a worker of its device to adopt."""
    fields = derive_status(summary, read_journal(folder), alive=alive)
    if fields["status"] in ACTIVE:
        fields |= {"host": host_name(), "device": job.device or find_devices().all[0].name}
    guarded_update(session, job, phase=None, **fields)
    return Status(job.status)
