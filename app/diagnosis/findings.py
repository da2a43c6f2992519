"""The findings of a run, and launching a clone with a finding's remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from sqlmodel import col, select

from app.errors import ApiError, not_found
from app.runs.launching import Launcher
from app.runs.public import RunPublic
from app.runs.query import key_of
from app.runs.requests import CloneRequest
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import Finding
from trainer.rundir.folder import RunDir

PICTURES = ("input", "one_batch")


class Remedy(BaseModel):
    label: str
    overrides: dict[str, Any] = Field(description="Overrides for a clone of the run")


class FindingPublic(BaseModel):
    id: int
    step: int
    kind: str = Field(description='The rule; "check/…" for the checks before the first step')
    level: str = Field(description="pass, look, info, warn or fail")
    message: str
    evidence: dict[str, Any] = Field(description='Numbers and thresholds; "lines" are {name: [[x], [y]]}')
    remedy: Remedy | None

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

    def of(self, run_id: str) -> list[FindingPublic]:
        """Return the run's findings, oldest first. Raises ApiError 404."""
        with self.database.read() as session:
            rows = session.exec(
                select(Finding).where(Finding.run == key_of(session, run_id)).order_by(col(Finding.key))
            ).all()
        return [_public(row) for row in rows]

    def get(self, run_id: str, finding_id: int) -> FindingPublic:
        found = next((item for item in self.of(run_id) if item.id == finding_id), None)
        if found is None:
            raise not_found("finding", str(finding_id))
        return found

    def try_remedy(self, run_id: str, finding_id: int) -> RunPublic:
        """Queue a clone with the remedy's overrides. Raises ApiError 404; 409: the finding has no remedy."""
        finding = self.get(run_id, finding_id)
        if finding.remedy is None:
            raise ApiError(409, "no_remedy", "This finding comes without a setting to try.")
        return self._launcher.clone(run_id, CloneRequest(overrides=finding.remedy.overrides, from_step=None))

    def picture(self, run_id: str, name: str) -> Path:
        self.runs.exists(run_id)
        path = RunDir(self.runs.folder(run_id)).check_picture(name)
        if name not in PICTURES or not path.exists():
            raise not_found("picture", name)
        return path


def _public(row: Finding) -> FindingPublic:
    evidence = dict(row.evidence)
    remedy = evidence.pop("remedy", None)
    return FindingPublic(
        id=row.key or 0,
        step=row.step,
        kind=row.kind,
        level=row.level,
        message=row.message,
        evidence=evidence,
        remedy=None if remedy is None else Remedy.model_validate(remedy),
    )
