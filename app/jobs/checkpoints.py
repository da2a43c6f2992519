"""The rows of a run's checkpoints: those whose files are in the run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.storage.changes import publish
from app.storage.tables import Checkpoint, Run
from app.storage.transitions import guarded_update
from trainer.rundir.checkpoints import list_checkpoints

COLUMNS = ("step", "epoch", "sha256", "size", "metrics", "best")


def put_checkpoint(session: Session, run: Run, values: Mapping[str, Any]) -> None:
    """Add a checkpoint, or replace the row of its step. `values` as in its event, or in its sidecar."""
    session.exec(delete(Checkpoint).where(col(Checkpoint.run) == run.key, col(Checkpoint.step) == values["step"]))
    row = {name: values[name] for name in COLUMNS}
    session.add(Checkpoint(run=run.key or 0, **row))
    publish(session, run.id, "checkpoint", {"run": run.id, **{name: row[name] for name in ("step", "epoch", "best")}})


def match_checkpoints(session: Session, run: Run, run_dir: Path) -> None:
    """Make the rows those of the files that are there now, guarded by the run's claim. Raises LostClaim."""
    guarded_update(session, run, claim=run.claim)
    there = {info.step: info for info in list_checkpoints(run_dir)}
    known = dict(session.exec(select(Checkpoint.step, Checkpoint.sha256).where(Checkpoint.run == run.key)).all())
    gone = known.keys() - there.keys()
    session.exec(delete(Checkpoint).where(col(Checkpoint.run) == run.key, col(Checkpoint.step).in_(gone)))
    for step, info in there.items():
        if known.get(step) != info.sha256:
            put_checkpoint(session, run, info.model_dump())
