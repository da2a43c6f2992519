"""Launching runs. The run directory is written first, then the row."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from app.errors import ApiError
from app.runs.naming import changes, default_name
from app.runs.permissions import permitted
from app.runs.public import RunPublic, public, publish_run
from app.runs.requests import CloneRequest, NewRun
from app.runs.runs import Runs
from app.runs.values import add_values
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run
from trainer.data.errors import DatasetMissing
from trainer.data.format import read_record
from trainer.plan.prepared import Prepared, prepared, prepared_clone
from trainer.rundir.creation import create_run_dir
from trainer.rundir.hold import Hold
from trainer.spec.preset import SpecError, changed_from_preset

JOURNALED = frozenset({
    "name", "group", "project", "tags", "expectation", "priority", "parent", "parent_step", "created_at", "changed",
    "idempotency_key", "idempotency_body", "search", "trial", "params",
})  # fmt: skip
# Settings that a clone from a checkpoint's weights must keep: the weights fit only the network they were trained in.
FIXED_BY_WEIGHTS = frozenset({"model.name", "model.widths", "target"})


@dataclass(frozen=True)
class Trial:
    """What a run is in a search: its number, from 0, the values that were chosen, and where it stops at first."""

    search: str
    number: int
    params: Mapping[str, Any]
    held: Hold


class Launcher:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._runs = Runs(database, settings)

    def create(self, request: NewRun, idempotency_key: str | None = None) -> RunPublic:
        """Queue a run. Raises SpecError; ApiError 409 when the key was used for another request."""
        body = hashlib.sha256(json.dumps(request.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
        if idempotency_key is not None:
            with self._database.read() as session:
                known = _by_key(session, idempotency_key, body)
            if known is not None:
                return public(known)
        return self.queue(request, self.prepare(request), idempotency_key, body)

    def prepare(self, request: NewRun) -> Prepared:
        """Return the spec that would be queued, and its plan. Raises SpecError."""
        try:
            ready = prepared(request.dataset, request.preset, request.overrides, self._settings.datasets)
        except DatasetMissing:
            raise _no_dataset(request.dataset) from None
        return replace(ready, spec=permitted(ready.spec, self._settings))

    def queue(
        self,
        request: NewRun,
        ready: Prepared,
        idempotency_key: str | None = None,
        body: str | None = None,
        trial: Trial | None = None,
    ) -> RunPublic:
        """Queue a run that `prepare` returned, as a trial of a search if there is one. Raises as `create` does."""
        row = Run(
            **_columns(ready),
            name=request.name or default_name(ready.changed, request.preset),
            preset=request.preset,
            group=request.group,
            project=request.project,
            tags=request.tags,
            expectation=request.expectation,
            priority=request.priority,
            idempotency_key=idempotency_key,
            idempotency_body=body if idempotency_key else None,
        )
        if trial is not None:
            row.search, row.trial, row.params = trial.search, trial.number, dict(trial.params)
        return self._enqueue(row, ready, held=None if trial is None else trial.held)

    def clone(self, run_id: str, request: CloneRequest) -> RunPublic:
        """Queue a run with the spec of another and overrides, from scratch or from one of its checkpoints' weights.

        Raises SpecError; ApiError 404: there is no such run or checkpoint.
        """
        parent = self._runs.get(run_id)
        base = parent.train_spec
        try:
            with_weights = request.from_step is not None
            ready = prepared_clone(base, request.overrides, self._settings.datasets, with_weights=with_weights)
        except DatasetMissing:
            raise _no_dataset(parent.dataset) from None
        ready = replace(ready, spec=permitted(ready.spec, self._settings))
        weights = None
        if request.from_step is not None:
            weights = self._runs.checkpoint_file(run_id, request.from_step).read_bytes()
            if changed := FIXED_BY_WEIGHTS & ready.changed.keys():
                reason = "the checkpoint's weights fit only the network they were trained in"
                raise SpecError({f"overrides.{field}": reason for field in changed})
            if other_fold := {"val_folds", "val_fold"} & ready.changed.keys():
                reason = "the checkpoint was trained on images that this fold holds out"
                raise SpecError({f"overrides.{field}": reason for field in other_fold})
        row = Run(
            **_columns(ready),
            name=request.name or (default_name(ready.changed, parent.name) if request.overrides else parent.name),
            preset=parent.preset,
            group=parent.group,
            project=parent.project,
            parent=parent.id,
            parent_step=request.from_step,
            tags=parent.tags,
        )
        return self._enqueue(row, ready, weights)

    def _enqueue(self, row: Run, ready: Prepared, weights: bytes | None = None, held: Hold | None = None) -> RunPublic:
        folder = self._runs.folder(row.id)
        meta = row.model_dump(mode="json", include=set(JOURNALED))
        create_run_dir(folder, ready.spec, ready.record, meta, weights, held)
        with self._database.write() as session:
            # Two requests with one key may arrive at once: under the write lock the second sees the first's row.
            known = _by_key(session, row.idempotency_key, row.idempotency_body)
            if known is None:
                self._check_dataset(folder, ready)
                newest = session.exec(select(Run.place).order_by(col(Run.key).desc()).limit(1)).first()
                row.place = max(row.place, newest or row.place)  # the clock may have been set back
                session.add(row)
                session.flush()
                add_values(session, row)
                publish_run(session, row, "created")
        if known is not None:
            shutil.rmtree(folder)
            return public(known)
        return public(row)

    def _check_dataset(self, folder: Path, ready: Prepared) -> None:
        """Raise SpecError, and delete the run's folder, if the dataset was deleted or renamed just now.

        Under the write lock, which is held for that too.
        """
        try:
            found = read_record(self._settings.datasets, ready.record.name).sha256 == ready.record.sha256
        except DatasetMissing:
            found = False
        if not found:
            shutil.rmtree(folder)
            raise _no_dataset(ready.record.name)


def _columns(ready: Prepared) -> dict[str, Any]:
    """Return the columns of a new run's row that are derived from its spec and plan."""
    spec, plan = ready.spec, ready.plan
    changed = changed_from_preset(spec)
    return {
        "id": secrets.token_hex(5),
        "dataset": spec.dataset.name,
        "model": spec.model.name,
        "spec": spec.model_dump(mode="json"),
        "devices": spec.devices,
        "changed": changes(ready.changed if changed is None else changed),
        "epochs": plan.epochs,
        "total_steps": plan.total_steps,
        "steps_per_epoch": plan.steps_per_epoch,
    }


def _by_key(session: Session, key: str | None, body: str | None) -> Run | None:
    """Return the run that was queued with the Idempotency-Key. Raises ApiError 409: another request used the key."""
    if key is None:
        return None
    row = session.exec(select(Run).where(Run.idempotency_key == key)).first()
    if row is not None and row.idempotency_body != body:
        raise ApiError(409, "idempotency_conflict", "This Idempotency-Key was used for a different request.")
    return row


def _no_dataset(name: str) -> SpecError:
    return SpecError({"dataset": f"There is no dataset called {name!r}."})
