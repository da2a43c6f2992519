"""Rebuild the database from the run directories, which are the truth: the same ingest, from nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import select

from app.claims import host_name
from app.db import Database
from app.ingest import ingest, is_behind
from app.run_models import RunPatch
from app.settings import Settings
from app.tables import Run, Status
from trainer.data.format import DatasetRecord
from trainer.events import Event, attempts, read_from
from trainer.lock import lock_holder
from trainer.rundir import extended_epochs, read_journal, read_spec
from trainer.schedule import make_plan, split_sizes

GIVEN = ("group", "parent", "parent_step", "priority", "changed", "idempotency_key", "idempotency_body")


class BeingServed(RuntimeError):
    """A `serve` has this home: it must end first."""


def reindex(settings: Settings) -> Iterator[tuple[str, str]]:
    """Add every committed run that the database lacks; give each one's id and status. Raises BeingServed."""
    with unserved(settings.home):
        database = Database(settings.url)
        database.migrate()
        with database.read() as session:
            known = set(session.exec(select(Run.id)).all())
        folders = [folder for folder in settings.runs.glob("*") if (folder / "committed").exists()]
        for folder in sorted(folders, key=created_at):
            if folder.name not in known:
                yield folder.name, add_run(database, folder)
        database.close()


@contextmanager
def unserved(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    lock = os.open(home / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BeingServed(f"`trackside serve` is running on {home.resolve()}: end it first.") from None
    finally:
        os.close(lock)


def created_at(folder: Path) -> datetime:
    given = next((line for line in read_journal(folder) if line.get("created_at")), None)
    if given is not None:
        return datetime.fromisoformat(given["created_at"])
    return datetime.fromtimestamp((folder / "spec.json").stat().st_mtime, UTC)


def add_run(database: Database, folder: Path) -> Status:
    """One run's rows, from its directory alone."""
    run = described(folder)
    with database.write() as session:
        session.add(run)
    while is_behind(run, folder):
        with database.write(durable=False) as session:
            ingest(session, run, folder)
    fields = outcome(folder)
    with database.write() as session:
        row = session.get(Run, run.key)
        assert row is not None
        for name, value in fields.items():
            setattr(row, name, value)
        session.add(row)
    return Status(fields["status"])


def described(folder: Path) -> Run:
    """The row as it was when the run was queued, with what people have changed since."""
    spec = read_spec(folder)
    meta: dict[str, Any] = {}
    for line in read_journal(folder):
        if line.get("e") == "meta":
            meta |= line
    record = DatasetRecord.model_validate_json((folder / "dataset.json").read_bytes())
    plan = make_plan(spec, split_sizes(spec, record.train_count)[0], extended_epochs(folder))
    return Run(
        id=folder.name,
        dataset=spec.dataset.name,
        preset=spec.preset,
        model=spec.model.name,
        spec=spec.model_dump(mode="json"),
        created_at=created_at(folder),
        attempt=max(attempts(folder), default=0),
        epochs=plan.epochs,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        **{name: meta[name] for name in GIVEN if name in meta},
        **{name: meta[name] for name in RunPatch.model_fields if name in meta and name != "name"},
        name=meta.get("name") or folder.name,
    )


def outcome(folder: Path) -> dict[str, Any]:
    """Where the run stands: what its trainers said last, and what people have asked since."""
    events = [event for attempt in attempts(folder) for event in edge_events(folder, attempt)]
    starts = [event for event in events if event["e"] == "start"]
    last = events[-1] if events else None
    end = last if last is not None and last["e"] == "end" else None
    asked = [line for line in read_journal(folder) if line.get("e") in ("stop", "resume", "failed")]
    wish = asked[-1] if asked else None
    fields: dict[str, Any] = {"started_at": moment(starts[0]["t"]) if starts else None, "phase": None}
    if starts and lock_holder(folder) is not None:
        # A trainer is at work: a worker of its device adopts it, as it would after a restart.
        return fields | {"status": Status.RUNNING, "host": host_name(), "device": starts[-1]["device"]}
    if wish is not None and wish["e"] == "resume" and (end is None or wish["t"] > end["t"]):
        return fields | {"status": Status.QUEUED}
    if wish is not None and wish["e"] == "failed":
        return fields | {"status": Status.FAILED, "error": wish["error"], "finished_at": moment(wish["t"])}
    if end is not None and end["reason"] in ("finished", "failed"):
        status = Status.FINISHED if end["reason"] == "finished" else Status.FAILED
        return fields | {"status": status, "error": end["error"], "finished_at": moment(end["t"])}
    if wish is not None and wish["e"] == "stop":
        finished = max(wish["t"], end["t"] if end is not None else 0)
        return fields | {"status": Status.STOPPED, "finished_at": moment(finished)}
    return fields | {"status": Status.QUEUED}


def edge_events(folder: Path, attempt: int) -> Iterator[Event]:
    path, offset = folder / "events" / f"{attempt}.jsonl", 0
    while True:
        events, following = read_from(path, offset)
        yield from (event for event in events if event["e"] in ("start", "end"))
        if following == offset:
            return
        offset = following


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
