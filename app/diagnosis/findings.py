"""The findings of a run, and launching a clone with a finding's remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from sqlmodel import col, select

from app.diagnosis.remedies import Remedy, Trial, children_of, offered, trials_of
from app.errors import ApiError, not_found
from app.runs.launching import Launcher
from app.runs.public import RunPublic, public
from app.runs.query import key_of
from app.runs.queue import Queue
from app.runs.requests import CloneRequest
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import Finding, Run, Status
from trainer.rundir.folder import RunDir

STOPPABLE = (Status.QUEUED, Status.STARTING, Status.RUNNING)
PICTURES = ("input", "one_batch")


class FindingPublic(BaseModel):
    id: int
    step: int
    kind: str = Field(description='The rule; "check/…" for the checks before the first step')
    level: str = Field(description="pass, info, look (review) or fail (problem); warn in older runs")
    message: str
    evidence: dict[str, Any] = Field(
        description='Numbers with "name", "unit" and "threshold"; "lines" are {name: [[x], [y]]}'
    )
    remedy: Remedy | None = Field(description="The change that is offered now")
    cause: str | None = Field(None, description="The kind of the finding of which this is a symptom")
    ended: int | None = Field(None, description="The step since which it no longer holds")
    trials: list[Trial] = Field([], description="The copies that were launched with its remedy")

    @property
    def is_check(self) -> bool:
        return self.kind.startswith("check/")

    @property
    def is_problem(self) -> bool:
        return self.level in ("warn", "fail")


class Findings:
    def __init__(self, database: Database, runs: Runs, launcher: Launcher) -> None:
        self.database = database
        self.runs = runs
        self._launcher = launcher
        self._queue = Queue(database, runs.settings)

    def of(self, run_id: str) -> list[FindingPublic]:
        """Return the run's findings, oldest first. Raises ApiError 404."""
        run = self.runs.get(run_id)
        with self.database.read() as session:
            rows = session.exec(
                select(Finding).where(Finding.run == key_of(session, run_id)).order_by(col(Finding.key))
            ).all()
            children = children_of(session, run_id) if any("remedy" in row.evidence for row in rows) else []
            parent = None
            if run.parent is not None and run.parent_step is None:
                known = session.exec(select(Run).where(Run.id == run.parent)).first()
                parent = None if known is None else public(known)
        return [_public(row, run, children, parent) for row in rows]

    def get(self, run_id: str, finding_id: int) -> FindingPublic:
        found = next((item for item in self.of(run_id) if item.id == finding_id), None)
        if found is None:
            raise not_found("finding", str(finding_id))
        return found

    def try_remedy(self, run_id: str, finding_id: int, *, stop: bool = False) -> RunPublic:
        """Queue a clone with the remedy's overrides. Raises ApiError 404; 409: the finding has no remedy.

        `stop` stops the run if it is active. The clone of a stopped run goes first in the queue.
        """
        finding = self.get(run_id, finding_id)
        if finding.remedy is None:
            raise ApiError(409, "no_remedy", "This finding has no setting to try.")
        if stop and self.runs.get(run_id).status in STOPPABLE:
            self.runs.stop(run_id)
        clone = self._launcher.clone(run_id, CloneRequest(overrides=finding.remedy.overrides, from_step=None))
        if self.runs.get(run_id).status in (Status.STOPPED, Status.STOPPING):
            return self._queue.move(clone.id, "next")
        return clone

    def picture(self, run_id: str, name: str) -> Path:
        self.runs.exists(run_id)
        path = RunDir(self.runs.folder(run_id)).check_picture(name)
        if name not in PICTURES or not path.exists():
            raise not_found("picture", name)
        return path


def _public(row: Finding, run: RunPublic, children: Sequence[RunPublic], parent: RunPublic | None) -> FindingPublic:
    evidence = dict(row.evidence)
    cause, ended, own = (evidence.pop(name, None) for name in ("cause", "ended", "remedy"))
    remedy = None if own is None else Remedy.model_validate(own)
    return FindingPublic(
        id=row.key or 0,
        step=row.step,
        kind=row.kind,
        level=row.level,
        message=row.message,
        evidence=evidence,
        remedy=None
        if run.is_script
        else offered(run, row.kind, remedy, children, parent, has_evidence=bool(evidence.get("probe"))),
        cause=cause if isinstance(cause, str) else None,
        ended=ended,
        trials=[] if remedy is None else trials_of(run, children, remedy),
    )
